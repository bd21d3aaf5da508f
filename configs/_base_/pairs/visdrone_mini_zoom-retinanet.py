# The teacher at twice the scale of its students, zoom-retinanet of VisDrone-mini.
cross_scale = dict(
    type='aerialkd.CrossScaleDistill',
    scale=2,
    teacher='configs/visdrone_mini/zoom-retinanet_teacher.py',
    teacher_ckpt='work_dirs/visdrone_mini/zoom-retinanet_teacher/epoch_12.pth',
)
