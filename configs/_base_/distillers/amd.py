# AMD on every pyramid level. Channels of 256 at five levels, as FPN has them.
amd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
    distill_losses=dict(
        amd=dict(
            type='aerialkd.AMDLoss',
            student_channels=256,
            teacher_channels=256,
            num_levels=5,
            alpha_amd=2e-5,
            threshold=1.0,
        )
    ),
    loss_forward_mappings=dict(amd='fpn'),
)
