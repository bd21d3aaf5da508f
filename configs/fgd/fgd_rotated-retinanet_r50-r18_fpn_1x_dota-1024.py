_base_ = [
    '../_base_/pairs/rotated-retinanet_r50-r18_fpn_1x_dota-1024.py',
    '../_base_/distillers/fgd.py',
]
model = dict(distiller=_base_.fgd)
