_base_ = [
    '../_base_/pairs/gfl_r101-r18_fpn_1x_visdrone-512.py',
    '../_base_/distillers/cross_kd.py',
]
_base_.cross_kd.distill_losses.cross_kd.update(
    compare='distributions', reg_weight=4.0
)  # as in its official GFL config
model = dict(distiller=_base_.cross_kd)
