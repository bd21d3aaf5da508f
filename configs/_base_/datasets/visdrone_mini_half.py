# VisDrone-mini at half the size of visdrone_mini.py. For a student that is shown half
# of what its teacher sees, zoomed_train_pipeline is that of the whole size.
_base_ = './visdrone_mini.py'
scale = (512, 320)
crop_size = (160, 160)
zoomed_train_pipeline = _base_.train_pipeline

train_pipeline = [
    *zoomed_train_pipeline[:2],
    dict(type='RandomResize', scale=scale, ratio_range=(0.8, 1.4), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, allow_negative_crop=True),
    *zoomed_train_pipeline[4:],
]
_base_.test_pipeline[1].scale = scale

train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
