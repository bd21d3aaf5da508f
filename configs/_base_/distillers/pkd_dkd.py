# PKD of the pyramid with DKD of the class scores (RDR-KD table I).
_base_ = ['./pkd.py', './dkd.py']
pkd_dkd = dict(
    type='aerialkd.DetectionDistiller',
    recorders={**_base_.pkd.recorders, **_base_.dkd.recorders},
    distill_losses={**_base_.pkd.distill_losses, **_base_.dkd.distill_losses},
    loss_forward_mappings={
        **_base_.pkd.loss_forward_mappings,
        **_base_.dkd.loss_forward_mappings,
    },
)
