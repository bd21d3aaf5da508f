# Table 3, "SNet + FA": one finer level of the pyramid, P2 to P6 instead of P3 to P7.
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
model = dict(
    neck=dict(start_level=0),
    bbox_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32, 64])),
)
