_base_ = [
    '../_base_/pairs/rotated-retinanet-dist_r50-r18_fpn_1x_dota-1024.py',
    '../_base_/distillers/ld.py',
]
model = dict(distiller=_base_.ld)
