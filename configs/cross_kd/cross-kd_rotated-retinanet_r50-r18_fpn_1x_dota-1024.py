_base_ = [
    '../_base_/pairs/rotated-retinanet_r50-r18_fpn_1x_dota-1024.py',
    '../_base_/distillers/cross_kd.py',
]
model = dict(distiller=_base_.cross_kd)
