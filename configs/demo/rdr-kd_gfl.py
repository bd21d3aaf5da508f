_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/rdr_kd.py',
]
_base_.rdr_kd.distill_losses.regenerated.update(channels=64, num_levels=4)
model = dict(distiller=_base_.rdr_kd)
