# CWD of the pyramid with WSLD of the class scores (RDR-KD table I).
_base_ = ['./cwd.py', './wsld.py']
cwd_wsld = dict(
    type='aerialkd.DetectionDistiller',
    recorders={**_base_.cwd.recorders, **_base_.wsld.recorders},
    distill_losses={**_base_.cwd.distill_losses, **_base_.wsld.distill_losses},
    loss_forward_mappings={
        **_base_.cwd.loss_forward_mappings,
        **_base_.wsld.loss_forward_mappings,
    },
)
