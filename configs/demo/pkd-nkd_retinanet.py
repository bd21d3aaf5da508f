_base_ = [
    '../_base_/pairs/demo_retinanet.py',
    '../_base_/distillers/pkd_nkd.py',
]
model = dict(distiller=_base_.pkd_nkd)
