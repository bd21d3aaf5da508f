_base_ = './retinanet_student.py'
model = dict(
    backbone=dict(depth=50, base_channels=32, stem_channels=32),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
