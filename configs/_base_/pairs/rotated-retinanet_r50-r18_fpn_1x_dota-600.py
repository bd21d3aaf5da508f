_base_ = '../../detectors/rotated_retinanet/rotated-retinanet_r18_fpn_1x_dota-600.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/detectors/rotated_retinanet/'
    'rotated-retinanet_r50_fpn_1x_dota-600.py',
    teacher_ckpt='work_dirs/rotated-retinanet_r50_fpn_1x_dota-600/epoch_12.pth',
)
