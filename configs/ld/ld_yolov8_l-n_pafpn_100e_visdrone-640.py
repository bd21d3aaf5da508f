_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/ld.py',
]
# Squares of 4 strides in the place of anchors, as large as those of our GFL.
_base_.ld.distill_losses.ld.point_scale = 4.0
model = dict(distiller=_base_.ld)
