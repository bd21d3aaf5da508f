_base_ = [
    '../_base_/pairs/demo_retinanet.py',
    '../_base_/distillers/cwd.py',
]
model = dict(distiller=_base_.cwd)
