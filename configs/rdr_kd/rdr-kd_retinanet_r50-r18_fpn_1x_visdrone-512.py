_base_ = [
    '../_base_/pairs/retinanet_r50-r18_fpn_1x_visdrone-512.py',
    '../_base_/distillers/rdr_kd.py',
]
model = dict(distiller=_base_.rdr_kd)
