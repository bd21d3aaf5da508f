# ZoomInNet with rotated boxes: their exact IoU decides the key positions.
_base_ = [
    './la_rotated-retinanet_r50_fpn_1x_dota-512.py',
    '../_base_/distillers/cskd.py',
]
model = dict(
    _delete_=True,
    type='aerialkd.CrossScaleDistill',
    scale=2,
    teacher='configs/detectors/rotated_retinanet/rotated-retinanet_r50_fpn_1x_dota-1024.py',
    teacher_ckpt='work_dirs/rotated-retinanet_r50_fpn_1x_dota-1024/epoch_12.pth',
    architecture=_base_.model,
    distiller=_base_.cskd,
)
train_dataloader = dict(dataset=dict(pipeline=_base_.zoomed_train_pipeline))
