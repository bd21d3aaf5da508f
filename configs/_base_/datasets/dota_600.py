# DOTA-v1.0 in tiles of 600x600, overlaps 150 (train) and 300 (val), KD-RNet III-A:
# tools/split_dota.py data/DOTA/train --out data/dota_600/train --sizes 600 --gaps 150
# tools/split_dota.py data/DOTA/val --out data/dota_600/val --sizes 600 --gaps 300
_base_ = './dota_1024.py'
data_root = 'data/dota_600/'
image_scale = (600, 600)
_base_.train_pipeline[3].scale = image_scale
_base_.test_pipeline[1].scale = image_scale

train_dataloader = dict(
    dataset=dict(data_root=data_root, pipeline=_base_.train_pipeline)
)
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(
    # Also merged, against the whole scenes.
    merging=dict(
        iou_threshold=0.1,
        scenes=dict(
            img_path='data/DOTA/val/images',
            ann_path='data/DOTA/val/labelTxt',
            version='1.0',
        ),
    ),
)
test_evaluator = val_evaluator
