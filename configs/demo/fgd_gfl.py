_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/fgd.py',
]
_base_.fgd.distill_losses.fgd.update(
    student_channels=64, teacher_channels=64, num_levels=4
)
model = dict(distiller=_base_.fgd)
