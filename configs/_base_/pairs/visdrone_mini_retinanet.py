_base_ = '../../visdrone_mini/retinanet_student.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/visdrone_mini/retinanet_teacher.py',
    teacher_ckpt='work_dirs/visdrone_mini/retinanet_teacher/epoch_12.pth',
)
