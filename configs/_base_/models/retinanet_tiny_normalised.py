# Normalised pyramid and head: without pretrained weights and in few steps a detector
# learns several times faster with them.
_base_ = './retinanet_tiny.py'
model = dict(
    neck=dict(norm_cfg=dict(type='BN')),
    bbox_head=dict(norm_cfg=dict(type='GN', num_groups=16)),
)
