# MGD of the pyramid with WSLD of the class scores (RDR-KD table I).
_base_ = ['./mgd.py', './wsld.py']
mgd_wsld = dict(
    type='aerialkd.DetectionDistiller',
    recorders={**_base_.mgd.recorders, **_base_.wsld.recorders},
    distill_losses={**_base_.mgd.distill_losses, **_base_.wsld.distill_losses},
    loss_forward_mappings={
        **_base_.mgd.loss_forward_mappings,
        **_base_.wsld.loss_forward_mappings,
    },
)
