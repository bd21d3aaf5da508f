# DOTA's tiles of 1024x1024 at half their size. For a student that is shown half of what
# its teacher sees, zoomed_train_pipeline leaves them whole.
_base_ = './dota_1024.py'
image_scale = (512, 512)
zoomed_train_pipeline = _base_.train_pipeline

train_pipeline = [
    *zoomed_train_pipeline[:3],
    dict(zoomed_train_pipeline[3], scale=image_scale),
    *zoomed_train_pipeline[4:],
]
_base_.test_pipeline[1].scale = image_scale

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
