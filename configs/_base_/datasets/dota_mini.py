# DOTA-mini: five scenes and ten patches of DOTA to train on, three scenes to evaluate
# on, cut into tiles by tools/split_dota.py; see configs/kd_rnet/README.md.
dataset_type = 'aerialkd.DOTADataset'
data_root = 'data/dota_mini/'
image_scale = (600, 600)
crop_size = (320, 320)

train_pipeline = [
    dict(type='mmdet.LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='mmrotate.ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
    dict(
        type='mmdet.RandomCrop',
        crop_size=crop_size,
        allow_negative_crop=True,
        bbox_clip_border=False,
    ),
    dict(
        type='mmdet.RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(type='mmdet.PackDetInputs'),
]
test_pipeline = [
    dict(type='mmdet.LoadImageFromFile'),
    dict(
        type='mmdet.Resize',
        scale=image_scale,
        keep_ratio=True,
        clip_object_border=False,  # rotated boxes cannot be clipped
    ),
    # Behind Resize: drawn ground truth stays in pixels of the original image.
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='mmrotate.ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
    # 'instances' hands the evaluator the ground truth in pixels of the original image.
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'instances',
        ),
    ),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=4,
        dataset=dict(
            type=dataset_type,
            data_root=data_root,
            data_prefix=dict(
                img_path='tiles/train/images', ann_path='tiles/train/labelTxt'
            ),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='tiles/val/images', ann_path='tiles/val/labelTxt'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='aerialkd.RotatedMetric',
    classwise=True,
    # Also merged, against the whole scenes.
    merging=dict(
        scenes=dict(
            img_path=data_root + 'scenes/val/images',
            ann_path=data_root + 'scenes/val/labelTxt',
        )
    ),
)
test_evaluator = val_evaluator
