# Table 6, "+Deeper backbone".
_base_ = './retinanet_r50_fpn_20e_visdrone-1024.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
)
