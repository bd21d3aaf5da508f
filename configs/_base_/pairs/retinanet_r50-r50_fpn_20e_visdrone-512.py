# ZoomInNet's pair: the same network at 1024 teaches the one at 512.
_base_ = '../../zoominnet/retinanet_r50_fpn_20e_visdrone-512.py'
model = dict(
    _delete_=True,
    type='aerialkd.CrossScaleDistill',
    scale=2,  # ZoomInNet 3.1
    architecture=_base_.model,
    teacher='configs/zoominnet/retinanet_r50_fpn_20e_visdrone-1024.py',
    teacher_ckpt='work_dirs/retinanet_r50_fpn_20e_visdrone-1024/epoch_20.pth',
)
train_dataloader = dict(dataset=dict(pipeline=_base_.zoomed_train_pipeline))
# Training images are shrunk with an antialiasing filter; those to predict on alike.
_base_.test_pipeline[1].interpolation = 'area'
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
