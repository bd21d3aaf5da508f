# retinanet_tiny.py for rotated boxes: angles in [-90, 90) degrees (le90), KLD box loss.
_base_ = './retinanet_tiny.py'
angle_version = 'le90'
model = dict(
    type='mmdet.RetinaNet',
    data_preprocessor=dict(type='mmdet.DetDataPreprocessor', boxtype2tensor=False),
    backbone=dict(type='mmdet.ResNet'),
    neck=dict(type='mmdet.FPN'),
    bbox_head=dict(
        type='mmdet.RetinaHead',
        num_classes=15,
        anchor_generator=dict(
            type='mmrotate.FakeRotatedAnchorGenerator',
            angle_version=angle_version,
            octave_base_scale=1.5,  # rotated objects are thin
        ),
        bbox_coder=dict(
            _delete_=True,
            type='mmrotate.DeltaXYWHTRBBoxCoder',
            angle_version=angle_version,
            norm_factor=None,
            edge_swap=True,
            proj_xy=True,
            target_means=(0.0, 0.0, 0.0, 0.0, 0.0),
            target_stds=(1.0, 1.0, 1.0, 1.0, 1.0),
        ),
        loss_cls=dict(type='mmdet.FocalLoss'),
        reg_decoded_bbox=True,
        loss_bbox=dict(
            _delete_=True,
            type='mmrotate.GDLoss_v1',
            loss_type='kld',
            fun='log1p',
            tau=1,
            loss_weight=1.0,
        ),
    ),
    train_cfg=dict(
        assigner=dict(
            _delete_=True,
            type='aerialkd.MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0,
            ignore_iof_thr=-1,
            iou_calculator=dict(type='aerialkd.RBboxOverlaps2D'),
        ),
        sampler=dict(type='mmdet.PseudoSampler'),
    ),
    test_cfg=dict(nms_pre=1000, nms=dict(type='nms_rotated', iou_threshold=0.1)),
)
