# Table 3, "SNet + CSKD".
_base_ = [
    '../_base_/pairs/retinanet_r50-r50_fpn_20e_visdrone-512.py',
    '../_base_/distillers/cskd.py',
]
model = dict(distiller=_base_.cskd)
