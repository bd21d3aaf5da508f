_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/cross_kd.py',
]
_base_.cross_kd.recorders.towers.idx = 1  # of two stacked convolutions
model = dict(distiller=_base_.cross_kd)
