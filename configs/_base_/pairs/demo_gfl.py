_base_ = '../../demo/gfl_student.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/demo/gfl_teacher.py',
    teacher_ckpt='work_dirs/demo_gfl/gfl_teacher/epoch_10.pth',
)
