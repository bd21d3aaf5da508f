# A distribution for each delta of a box, which LD compares.
_base_ = './rotated-retinanet_r50_fpn_1x_dota-1024.py'
model = dict(
    bbox_head=dict(
        type='aerialkd.DistributionRotatedRetinaHead',
        intervals=16,  # GFL's number, as the weight of its loss
        bin_range=(-2.0, 2.0),
        loss_dfl=dict(type='mmdet.DistributionFocalLoss', loss_weight=0.25),
    )
)
