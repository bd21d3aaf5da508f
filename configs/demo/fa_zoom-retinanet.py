# ZoomInNet's FA: one finer pyramid level, so that the maps have the teacher's sizes.
_base_ = './zoom-retinanet_student.py'
model = dict(
    neck=dict(start_level=0),
    bbox_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32])),
)
