# HRSC2016 in its native layout, images of at most 800x512; every object is a ship
# (classwise=True and num_classes=31: the 31 classes).
_base_ = './dota_1024.py'
dataset_type = 'aerialkd.HRSC2016Dataset'
data_root = 'data/HRSC2016/'
image_scale = (800, 512)
_base_.train_pipeline[3].scale = image_scale
_base_.test_pipeline[1].scale = image_scale

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/trainval.txt',
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/test.txt',
        test_mode=True,
        pipeline=_base_.test_pipeline,
    )
)
test_dataloader = val_dataloader
