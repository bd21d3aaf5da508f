_base_ = [
    '../../_base_/models/gfl_r50_fpn.py',
    '../../_base_/datasets/visdrone_512.py',
    '../../_base_/schedules/1x.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
