_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/nkd.py',
]
model = dict(distiller=_base_.nkd)
