# Made satellite images of 128x128 in DOTA's layout (tools/make_demo_data.py), enlarged:
# half of the objects are less than 6 pixels wide.
_base_ = './dota_1024.py'
data_root = 'work_dirs/demo_rotated/data/'
image_scale = (192, 192)
train_batch_size = 8
_base_.train_pipeline[3].scale = image_scale
_base_.test_pipeline[1].scale = image_scale

train_dataloader = dict(
    batch_size=train_batch_size,
    dataset=dict(
        data_root=data_root,
        bad_annotations='error',
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    dataset=dict(data_root=data_root, pipeline=_base_.test_pipeline),
)
test_dataloader = val_dataloader
