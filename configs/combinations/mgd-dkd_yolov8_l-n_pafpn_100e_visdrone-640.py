_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/mgd_dkd.py',
]
_base_.mgd_dkd.distill_losses.mgd.update(
    student_channels=[64, 128, 256], teacher_channels=[256, 512, 512], num_levels=3
)
model = dict(distiller=_base_.mgd_dkd)
