# Tables 4 and 5, "Libra-RCNN": MMDetection's Libra RetinaNet (balanced pyramid and
# loss), as in the authors' configs.
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
model = dict(
    neck=[
        _base_.model.neck,
        dict(
            type='BFP',
            in_channels=256,
            num_levels=5,
            refine_level=1,
            refine_type='non_local',
        ),
    ],
    bbox_head=dict(
        loss_bbox=dict(type='BalancedL1Loss', alpha=0.5, gamma=1.5, beta=0.11)
    ),
)
