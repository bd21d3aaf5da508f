# CWD on every pyramid level, with the weight of its official code for features.
cwd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
    distill_losses=dict(
        cwd=dict(
            type='aerialkd.CWDLoss',
            tau=1.0,
            loss_weight=10.0,
        )
    ),
    loss_forward_mappings=dict(cwd='fpn'),
)
