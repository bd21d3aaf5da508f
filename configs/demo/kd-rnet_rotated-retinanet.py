_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/kd_rnet.py',
]
model = dict(distiller=_base_.kd_rnet)
