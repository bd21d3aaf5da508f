# The demo's images at half their size. For a student that is shown half of what its
# teacher sees, zoomed_train_pipeline leaves them whole.
_base_ = './demo.py'
image_scale = (96, 96)
zoomed_train_pipeline = _base_.train_pipeline

train_pipeline = [
    *zoomed_train_pipeline[:2],
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    *zoomed_train_pipeline[2:],
]
_base_.test_pipeline[1].scale = image_scale

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
