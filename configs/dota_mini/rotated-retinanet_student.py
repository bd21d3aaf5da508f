_base_ = [
    '../_base_/models/rotated_retinanet_tiny.py',
    '../_base_/datasets/dota_mini.py',
    '../_base_/schedules/from_scratch.py',
    '../_base_/rotated_runtime.py',
]
# Normalised pyramid and head: nothing is pretrained, and there are few steps.
model = dict(
    neck=dict(norm_cfg=dict(type='BN')),
    bbox_head=dict(num_classes=4, norm_cfg=dict(type='GN', num_groups=16)),
)
max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
_base_.param_scheduler[1].T_max = max_epochs
optim_wrapper = dict(optimizer=dict(lr=0.002))
work_dir = 'work_dirs/dota_mini/rotated-retinanet_student'
