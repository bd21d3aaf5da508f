# CrossKD: behind the third of four stacked convolutions the student's features go on in
# the teacher's head, as in its official RetinaNet and GFL configs.
cross_kd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(towers=dict(type='HeadTowers', idx=3)),
    distill_losses=dict(cross_kd=dict(type='aerialkd.CrossKDLoss', gamma=1.0)),
    loss_forward_mappings=dict(cross_kd='towers'),
)
