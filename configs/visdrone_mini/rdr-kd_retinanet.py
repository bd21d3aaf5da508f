_base_ = [
    '../_base_/pairs/visdrone_mini_retinanet.py',
    '../_base_/distillers/rdr_kd.py',
]
_base_.distiller.distill_losses.regenerated.update(channels=64, num_levels=4)
model = dict(distiller=_base_.distiller)
work_dir = 'work_dirs/visdrone_mini/rdr-kd_retinanet'
