# Table 3, "SNet + FA_ThinHead": FA with two instead of four convolutions in the head.
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
model = dict(
    neck=dict(start_level=0),
    bbox_head=dict(stacked_convs=2, anchor_generator=dict(strides=[4, 8, 16, 32, 64])),
)
