# PKD of the pyramid with NKD of the class scores (RDR-KD table I).
_base_ = ['./pkd.py', './nkd.py']
pkd_nkd = dict(
    type='aerialkd.DetectionDistiller',
    recorders={**_base_.pkd.recorders, **_base_.nkd.recorders},
    distill_losses={**_base_.pkd.distill_losses, **_base_.nkd.distill_losses},
    loss_forward_mappings={
        **_base_.pkd.loss_forward_mappings,
        **_base_.nkd.loss_forward_mappings,
    },
)
