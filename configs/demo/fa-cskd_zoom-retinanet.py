# The student of fa_zoom-retinanet.py.
_base_ = './cskd_zoom-retinanet.py'
model = dict(
    architecture=dict(
        neck=dict(start_level=0),
        bbox_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32])),
    )
)
