# MGD of the pyramid with DKD of the class scores (RDR-KD table I).
_base_ = ['./mgd.py', './dkd.py']
mgd_dkd = dict(
    type='aerialkd.DetectionDistiller',
    recorders={**_base_.mgd.recorders, **_base_.dkd.recorders},
    distill_losses={**_base_.mgd.distill_losses, **_base_.dkd.distill_losses},
    loss_forward_mappings={
        **_base_.mgd.loss_forward_mappings,
        **_base_.dkd.loss_forward_mappings,
    },
)
