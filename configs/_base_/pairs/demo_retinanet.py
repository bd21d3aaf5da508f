_base_ = '../../demo/retinanet_student.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/demo/retinanet_teacher.py',
    teacher_ckpt='work_dirs/demo/retinanet_teacher/epoch_10.pth',
)
