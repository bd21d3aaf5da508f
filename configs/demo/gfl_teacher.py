_base_ = './gfl_student.py'
model = dict(
    backbone=dict(depth=34, base_channels=32, stem_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
