_base_ = [
    '../_base_/pairs/demo_retinanet.py',
    '../_base_/distillers/bckd.py',
]
model = dict(distiller=_base_.bckd)
