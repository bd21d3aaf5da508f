_base_ = [
    '../../_base_/models/rotated_retinanet_r50_fpn.py',
    '../../_base_/datasets/dota_600.py',
    '../../_base_/schedules/1x.py',
    '../../_base_/rotated_runtime.py',
]
model = dict(
    backbone=dict(
        depth=34,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet34'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
# MMRotate's rate for a batch of 2, which the KLD loss needs clipped.
optim_wrapper = dict(
    optimizer=dict(lr=0.0025), clip_grad=dict(max_norm=35, norm_type=2)
)
auto_scale_lr = dict(base_batch_size=2)
