# KD-RNet: class distribution and encoded box of the head, at the student's positives.
kd_rnet = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(head=dict(type='HeadOutputs')),
    distill_losses=dict(
        soft_class=dict(type='aerialkd.SoftClassLoss', tau=8.0),  # KD-RNet III-A
        soft_regression=dict(type='aerialkd.SoftRegressionLoss', tau=10.0),  # III-A
    ),
    loss_forward_mappings=dict(soft_class='head', soft_regression='head'),
)
