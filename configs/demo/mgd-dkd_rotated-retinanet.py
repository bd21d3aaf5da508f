_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/mgd_dkd.py',
]
_base_.mgd_dkd.distill_losses.mgd.update(
    student_channels=64, teacher_channels=64, num_levels=4
)
model = dict(distiller=_base_.mgd_dkd)
