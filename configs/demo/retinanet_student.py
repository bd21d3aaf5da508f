_base_ = [
    '../_base_/models/retinanet_tiny_normalised.py',
    '../_base_/datasets/demo.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64]),
)
work_dir = 'work_dirs/demo/retinanet_student'
