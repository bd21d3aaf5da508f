# WSLD: the class scores of the student's positives.
wsld = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(head=dict(type='HeadOutputs')),
    distill_losses=dict(
        wsld=dict(
            type='aerialkd.WSLDLoss',
            tau=2.0,
            loss_weight=2.5,
        )
    ),
    loss_forward_mappings=dict(wsld='head'),
)
