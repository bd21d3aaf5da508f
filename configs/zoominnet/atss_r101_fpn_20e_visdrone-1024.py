# Table 6, "+Better Anchor Assignment": read as ATSS, with MMDetection's head for it.
# One square anchor a cell, 4 strides wide: about the middle of RetinaNet's nine.
_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/visdrone_1024.py',
    '../_base_/schedules/20e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='ATSS',
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    bbox_head=dict(
        type='ATSSHead',
        anchor_generator=dict(octave_base_scale=4, scales_per_octave=1, ratios=[1.0]),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_centerness=dict(
            type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0
        ),
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='ATSSAssigner', topk=9, ignore_iof_thr=0.5)
    ),
)
