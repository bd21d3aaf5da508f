_base_ = [
    '../_base_/pairs/rotated-retinanet_r50-r34_fpn_1x_dota-600.py',
    '../_base_/distillers/kd_rnet.py',
]
model = dict(distiller=_base_.kd_rnet)
