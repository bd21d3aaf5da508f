# DKD: the class scores of the student's positives.
dkd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(head=dict(type='HeadOutputs')),
    distill_losses=dict(
        dkd=dict(
            type='aerialkd.DKDLoss',
            alpha=1.0,
            beta=0.25,  # DKD, detectors
            tau=1.0,
        )
    ),
    loss_forward_mappings=dict(dkd='head'),
)
