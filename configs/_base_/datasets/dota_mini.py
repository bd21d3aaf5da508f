# DOTA-mini: five scenes and ten patches of DOTA to train on, three scenes to evaluate
# on, cut into tiles by tools/split_dota.py; see configs/kd_rnet/README.md.
_base_ = './dota_600.py'
data_root = 'data/dota_mini/'
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

train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=4,
        dataset=dict(
            type=_base_.dataset_type,
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
    dataset=dict(
        data_root=data_root,
        data_prefix=dict(img_path='tiles/val/images', ann_path='tiles/val/labelTxt'),
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(
    classwise=True,
    merging=dict(
        scenes=dict(
            img_path=data_root + 'scenes/val/images',
            ann_path=data_root + 'scenes/val/labelTxt',
        )
    ),
)
test_evaluator = val_evaluator
