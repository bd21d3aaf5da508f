_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/cross_kd.py',
]
_base_.cross_kd.recorders.towers.idx = 1  # of two stacked convolutions
# As in its GFL config at full size.
_base_.cross_kd.distill_losses.cross_kd.update(compare='distributions', reg_weight=4.0)
model = dict(distiller=_base_.cross_kd)
