_base_ = [
    '../_base_/pairs/demo_zoom-retinanet.py',
    '../_base_/distillers/cskd.py',
]
model = dict(distiller=_base_.cskd)
