# RDR-KD: regenerated and decoupled distillation of every neck output, responsive
# distillation of the dense head. Channels of 256 at five levels, as FPN has them.
rdr_kd = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(
        fpn=dict(type='ModuleOutputs', source='neck'),
        head=dict(type='HeadOutputs'),
    ),
    distill_losses=dict(
        regenerated=dict(
            type='aerialkd.RegeneratedLoss',
            channels=256,
            num_levels=5,
            tau_s=1.0,  # RDR-KD III-A, as all numbers below
            tau_c=1.0,
            tau_area=500.0,
            loss_weight=1e-5,
        ),
        decoupled=dict(
            type='aerialkd.DecoupledLoss', alpha=0.5, beta=0.5, loss_weight=0.1
        ),
        responsive=dict(type='aerialkd.ResponsiveLoss', loss_weight=1e-5),
    ),
    loss_forward_mappings=dict(regenerated='fpn', decoupled='fpn', responsive='head'),
)
