# Table 6, "+Deeper backbone".
_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/visdrone_1024.py',
    '../_base_/schedules/20e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
)
