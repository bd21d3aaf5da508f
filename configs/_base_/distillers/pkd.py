# PKD on the first four pyramid levels, as in its official RetinaNet and GFL configs.
pkd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
    distill_losses=dict(pkd=dict(type='aerialkd.PKDLoss', loss_weight=10.0)),
    loss_forward_mappings=dict(pkd=dict(recorder='fpn', levels=(0, 1, 2, 3))),
)
