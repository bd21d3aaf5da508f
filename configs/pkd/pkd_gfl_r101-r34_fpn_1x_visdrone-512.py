_base_ = [
    '../_base_/pairs/gfl_r101-r34_fpn_1x_visdrone-512.py',
    '../_base_/distillers/pkd.py',
]
model = dict(distiller=_base_.pkd)
