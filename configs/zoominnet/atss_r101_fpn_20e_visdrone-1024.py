# Table 6, "+Better Anchor Assignment": read as ATSS, with MMDetection's head for it.
# One square anchor a cell, 4 strides wide: about the middle of RetinaNet's nine.
_base_ = './retinanet_r101_fpn_20e_visdrone-1024.py'
model = dict(
    type='ATSS',
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
