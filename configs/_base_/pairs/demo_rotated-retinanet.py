_base_ = '../../demo/rotated-retinanet_student.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/demo/rotated-retinanet_teacher.py',
    teacher_ckpt='work_dirs/demo_rotated/rotated-retinanet_teacher/epoch_10.pth',
)
