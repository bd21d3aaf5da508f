# Table 3, "SNet + FA_ThinHead + CSKD".
_base_ = './cskd_retinanet_r50-r50_fpn_20e_visdrone-512.py'
model = dict(
    architecture=dict(
        neck=dict(start_level=0),
        bbox_head=dict(
            stacked_convs=2, anchor_generator=dict(strides=[4, 8, 16, 32, 64])
        ),
    )
)
