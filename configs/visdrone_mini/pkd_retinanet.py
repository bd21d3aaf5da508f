_base_ = [
    '../_base_/pairs/visdrone_mini_retinanet.py',
    '../_base_/distillers/pkd.py',
]
model = dict(distiller=_base_.pkd)
work_dir = 'work_dirs/visdrone_mini/pkd_retinanet'
