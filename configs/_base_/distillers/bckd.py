# BCKD: the class scores and boxes of all priors.
bckd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(head=dict(type='HeadOutputs')),
    distill_losses=dict(
        bckd=dict(
            type='aerialkd.BCKDLoss',
            gamma=1.0,
            cls_weight=1.0,
            bbox_weight=4.0,
        )
    ),
    loss_forward_mappings=dict(bckd='head'),
)
