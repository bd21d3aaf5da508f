_base_ = [
    '../_base_/pairs/gfl_r101-r18_fpn_1x_visdrone-512.py',
    '../_base_/distillers/ld.py',
]
model = dict(distiller=_base_.ld)
