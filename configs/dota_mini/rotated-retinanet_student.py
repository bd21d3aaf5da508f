# The student of the rotated demo, distilled on made images, goes on with real tiles.
_base_ = [
    '../_base_/models/rotated_retinanet_tiny.py',
    '../_base_/datasets/dota_mini.py',
    '../_base_/schedules/from_scratch.py',
    '../_base_/rotated_runtime.py',
]
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], norm_cfg=dict(type='BN')),
    bbox_head=dict(norm_cfg=dict(type='GN', num_groups=16)),
)
load_from = 'work_dirs/demo_rotated/kd-rnet_rotated-retinanet/epoch_10.pth'
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
_base_.param_scheduler[1].T_max = max_epochs
optim_wrapper = dict(optimizer=dict(lr=0.002))
work_dir = 'work_dirs/dota_mini/rotated-retinanet_student'
