# YOLOv8 n, RDR-KD's student. Users' own models take RGB in [0, 1].
model = dict(
    type='aerialkd.YOLOv8',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=114 / 255,  # letterbox in grey; padding follows the normalisation
    ),
    backbone=dict(type='aerialkd.YOLOv8Backbone', size='n'),
    neck=dict(type='aerialkd.YOLOv8PAFPN', size='n'),
    bbox_head=dict(
        type='aerialkd.YOLOv8Head',
        size='n',
        num_classes=10,
        # framework default: gains 0.5, 7.5 and 1.5
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.5),
        loss_bbox=dict(type='aerialkd.CompleteIoULoss', loss_weight=7.5),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=1.5),
    ),
    train_cfg=dict(
        # framework default
        assigner=dict(
            type='aerialkd.PointTaskAlignedAssigner', topk=10, alpha=0.5, beta=6.0
        ),
    ),
    test_cfg=dict(
        nms_pre=10000,
        score_thr=0.001,  # framework default when it validates, as is the next
        nms=dict(type='nms', iou_threshold=0.7),
        max_per_img=500,  # VisDrone's protocol
    ),
)
