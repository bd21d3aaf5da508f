_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/pkd_dkd.py',
]
model = dict(distiller=_base_.pkd_dkd)
