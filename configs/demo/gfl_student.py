_base_ = [
    '../_base_/models/gfl_tiny.py',
    '../_base_/datasets/demo.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
# Normalised pyramid and head, as in retinanet_student.py.
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], norm_cfg=dict(type='BN')),
    bbox_head=dict(norm_cfg=dict(type='GN', num_groups=16)),
)
work_dir = 'work_dirs/demo_gfl/gfl_student'
