_base_ = (
    '../../detectors/rotated_retinanet/rotated-retinanet-dist_r18_fpn_1x_dota-1024.py'
)
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/detectors/rotated_retinanet/'
    'rotated-retinanet-dist_r50_fpn_1x_dota-1024.py',
    teacher_ckpt='work_dirs/rotated-retinanet-dist_r50_fpn_1x_dota-1024/epoch_12.pth',
)
