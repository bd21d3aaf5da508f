_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/nkd.py',
]
model = dict(distiller=_base_.nkd)
