_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/cwd_wsld.py',
]
model = dict(distiller=_base_.cwd_wsld)
