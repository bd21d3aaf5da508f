# VisDrone-DET at 1024x1024, every image squeezed to the square (ZoomInNet's teacher).
_base_ = './visdrone_512.py'
image_scale = (1024, 1024)
_base_.test_pipeline[1].scale = image_scale

train_dataloader = dict(
    batch_size=4,  # ZoomInNet, authors' configs
    dataset=dict(pipeline=_base_.zoomed_train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
