# VisDrone-DET within 640x640, aspect ratio kept: four images joined and scaled to
# train on; to test, the preprocessor pads to a multiple of 32 (letterbox). Padding lies
# right and below, so that detections go back to the image by its scale alone.
_base_ = './visdrone_512.py'
image_scale = (640, 640)
grey = 114

# Mosaic scales its four images by the same rule: resizing here changes nothing for it,
# and serves the pipeline that has no mosaic.
load_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_scale, keep_ratio=True),
]
augmentations = [
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    # keep_empty=False: images that lost all objects are kept (the name misleads).
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2), keep_empty=False),
    dict(type='PackDetInputs'),
]
affine = dict(
    type='RandomAffine',
    max_rotate_degree=0.0,  # framework default, as are the other three
    max_shear_degree=0.0,
    max_translate_ratio=0.1,
    scaling_ratio_range=(0.5, 1.5),
)
train_pipeline = [
    dict(type='Mosaic', img_scale=image_scale, pad_val=grey),
    # Cuts the mosaic of twice the size to 640x640.
    dict(affine, border=(-image_scale[0] // 2, -image_scale[1] // 2)),
    *augmentations,
]
# For the last epochs. PipelineSwitchHook and MultiImageMixDataset together take no
# pipeline that is longer than the one before.
late_pipeline = [
    dict(type='Pad', size=image_scale, pad_val=dict(img=(grey, grey, grey))),
    dict(affine),
    *augmentations,
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=_base_.test_meta_keys),
]

images = _base_.train_dataloader.dataset
images.pipeline = load_pipeline
train_dataloader = dict(
    batch_size=16,  # framework default
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=images,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
