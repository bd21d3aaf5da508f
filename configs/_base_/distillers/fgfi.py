# FGFI on every pyramid level. Channels of 256 at five levels, as FPN has them.
fgfi = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
    connectors=dict(
        adapt=dict(
            type='aerialkd.PyramidAligner',
            in_channels=256,
            out_channels=256,
            num_levels=5,
            kernel_size=3,
            act_cfg=dict(type='ReLU'),
        )
    ),
    distill_losses=dict(
        fgfi=dict(type='aerialkd.FGFILoss', threshold=0.5, loss_weight=0.01)
    ),
    loss_forward_mappings=dict(fgfi=dict(recorder='fpn', connector='adapt')),
)
