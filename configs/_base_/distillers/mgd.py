# MGD on every pyramid level. Channels of 256 at five levels, as FPN has them.
mgd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
    distill_losses=dict(
        mgd=dict(
            type='aerialkd.MGDLoss',
            student_channels=256,
            teacher_channels=256,
            num_levels=5,
            alpha_mgd=2e-5,  # MGD, one-stage detectors
            lambda_mgd=0.65,
        )
    ),
    loss_forward_mappings=dict(mgd='fpn'),
)
