# FGD on every pyramid level. Channels of 256 at five levels, as FPN has them.
fgd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
    distill_losses=dict(
        fgd=dict(
            type='aerialkd.FGDLoss',
            student_channels=256,
            teacher_channels=256,
            num_levels=5,
            temp=0.5,
            alpha_fgd=1e-3,
            beta_fgd=5e-4,
            gamma_fgd=5e-4,
            lambda_fgd=5e-6,
        )
    ),
    loss_forward_mappings=dict(fgd='fpn'),
)
