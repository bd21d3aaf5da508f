_base_ = [
    '../_base_/pairs/gfl_r101-r18_fpn_1x_visdrone-1333x800.py',
    '../_base_/distillers/pkd.py',
]
model = dict(distiller=_base_.pkd)
