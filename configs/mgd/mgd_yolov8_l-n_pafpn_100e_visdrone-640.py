_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/mgd.py',
]
_base_.mgd.distill_losses.mgd.update(
    student_channels=_base_.student_channels,
    teacher_channels=_base_.teacher_channels,
    num_levels=3,
)
model = dict(distiller=_base_.mgd)
