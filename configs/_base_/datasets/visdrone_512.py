# VisDrone-DET at 512x512, every image squeezed to the square (ZoomInNet's setting).
# The official archives, unpacked side by side under data_root.
dataset_type = 'aerialkd.VisDroneDataset'
data_root = 'data/VisDrone/'
image_scale = (512, 512)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_scale, keep_ratio=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
# For a student that is shown half of what its teacher sees.
zoomed_train_pipeline = [
    *train_pipeline[:2],
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False),
    *train_pipeline[3:],
]
# 'instances' hands the evaluator the ground truth in pixels of the original image.
test_meta_keys = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'instances',
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_scale, keep_ratio=False),
    # Behind Resize: drawn ground truth stays in pixels of the original image.
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=test_meta_keys),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path='VisDrone2019-DET-train/images',
            ann_path='VisDrone2019-DET-train/annotations',
        ),
        # The official training set has three boxes of height 0.
        bad_annotations='skip',
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path='VisDrone2019-DET-val/images',
            ann_path='VisDrone2019-DET-val/annotations',
        ),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='aerialkd.VisDroneMetric')
test_evaluator = val_evaluator
