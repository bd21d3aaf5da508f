_base_ = [
    '../_base_/pairs/retinanet_r101-r18_fpn_1x_visdrone-512.py',
    '../_base_/distillers/cross_kd.py',
]
model = dict(distiller=_base_.cross_kd)
