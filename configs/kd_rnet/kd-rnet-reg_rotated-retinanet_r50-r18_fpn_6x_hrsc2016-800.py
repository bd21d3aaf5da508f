_base_ = [
    '../_base_/pairs/rotated-retinanet_r50-r18_fpn_6x_hrsc2016-800.py',
    '../_base_/distillers/kd_rnet.py',
]
# Of one class, so that the class distribution says nothing: boxes alone.
_base_.kd_rnet.only = ['soft_regression']
model = dict(distiller=_base_.kd_rnet)
