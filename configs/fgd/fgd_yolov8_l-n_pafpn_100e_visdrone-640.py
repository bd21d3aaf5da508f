_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/fgd.py',
]
_base_.fgd.distill_losses.fgd.update(
    student_channels=_base_.student_channels,
    teacher_channels=_base_.teacher_channels,
    num_levels=3,
)
model = dict(distiller=_base_.fgd)
