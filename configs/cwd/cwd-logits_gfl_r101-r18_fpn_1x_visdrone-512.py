# CWD on the maps of class logits, as its official code does for GFL.
_base_ = [
    '../_base_/pairs/gfl_r101-r18_fpn_1x_visdrone-512.py',
    '../_base_/distillers/cwd.py',
]
_base_.cwd.recorders = dict(head=dict(type='HeadOutputs'))
_base_.cwd.distill_losses.cwd.loss_weight = 5.0
_base_.cwd.loss_forward_mappings.cwd = dict(recorder='head', data_idx=0)
model = dict(distiller=_base_.cwd)
