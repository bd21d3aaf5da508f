# NKD: the class scores of the student's positives.
nkd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(head=dict(type='HeadOutputs')),
    distill_losses=dict(
        nkd=dict(
            type='aerialkd.NKDLoss',
            gamma=1.5,
            tau=1.0,
        )
    ),
    loss_forward_mappings=dict(nkd='head'),
)
