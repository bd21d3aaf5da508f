# The teacher at twice the scale of every student of configs/visdrone_mini/*zoom-retinanet.py.
cross_scale = dict(
    type='aerialkd.CrossScaleDistill',
    scale=2,
    teacher='configs/visdrone_mini/zoom-retinanet_teacher.py',
    teacher_ckpt='work_dirs/visdrone_mini/zoom-retinanet_teacher/epoch_12.pth',
)
