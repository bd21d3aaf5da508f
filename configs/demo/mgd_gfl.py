_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/mgd.py',
]
_base_.mgd.distill_losses.mgd.update(
    student_channels=64, teacher_channels=64, num_levels=4
)
model = dict(distiller=_base_.mgd)
