# LD: box distributions at the student's positives and in the valuable region beside
# them, classes at the positives.
ld = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(head=dict(type='HeadOutputs')),
    distill_losses=dict(
        ld=dict(
            type='aerialkd.LDLoss',
            tau=10.0,  # LD, official config, as all numbers below
            gamma=0.25,
            tau_cls=2.0,
            loss_weight=0.25,
            vlr_weight=0.25,
            cls_weight=10.0,
        )
    ),
    loss_forward_mappings=dict(ld='head'),
)
