_base_ = [
    '../_base_/pairs/visdrone_mini_retinanet.py',
    '../_base_/distillers/rdr_kd.py',
]
_base_.rdr_kd.distill_losses.regenerated.update(channels=64, num_levels=4)
# This pair's pyramid is not normalised: with the paper's 0.1 the decoupled loss is ten
# times the task loss, and gradient clipping takes most of what the task asks for.
_base_.rdr_kd.distill_losses.decoupled.update(loss_weight=0.02)
model = dict(distiller=_base_.rdr_kd)
