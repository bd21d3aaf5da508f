_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/amd.py',
]
_base_.amd.distill_losses.amd.update(
    student_channels=64, teacher_channels=64, num_levels=4
)
model = dict(distiller=_base_.amd)
