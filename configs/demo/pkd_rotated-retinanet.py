_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/pkd.py',
]
model = dict(distiller=_base_.pkd)
