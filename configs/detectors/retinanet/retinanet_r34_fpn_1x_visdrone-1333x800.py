_base_ = [
    '../../_base_/models/retinanet_r50_fpn.py',
    '../../_base_/datasets/visdrone_1333x800.py',
    '../../_base_/schedules/1x.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        depth=34,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet34'),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
