_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/cwd_wsld.py',
]
model = dict(distiller=_base_.cwd_wsld)
