# ZoomInNet's cross-scale distillation (CSKD): position-aware L2 at the key positions of
# all pyramid levels.
cskd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
    distill_losses=dict(
        position=dict(
            type='aerialkd.PositionAwareL2Loss',
            threshold='adaptive',  # ZoomInNet eq. 15
            loss_weight=0.01,  # ZoomInNet 3.3.2, lambda_distill
        )
    ),
    loss_forward_mappings=dict(position='fpn'),
)
