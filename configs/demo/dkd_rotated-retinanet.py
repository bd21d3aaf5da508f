_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/dkd.py',
]
model = dict(distiller=_base_.dkd)
work_dir = 'work_dirs/demo_rotated/dkd_rotated-retinanet'
