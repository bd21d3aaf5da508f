_base_ = (
    '../../detectors/rotated_retinanet/rotated-retinanet_r18_fpn_6x_hrsc2016-800.py'
)
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/detectors/rotated_retinanet/'
    'rotated-retinanet_r50_fpn_6x_hrsc2016-800.py',
    teacher_ckpt='work_dirs/rotated-retinanet_r50_fpn_6x_hrsc2016-800/epoch_72.pth',
)
