# The teacher at twice the scale of every student of configs/demo/*zoom-retinanet.py.
cross_scale = dict(
    type='aerialkd.CrossScaleDistill',
    scale=2,
    teacher='configs/demo/zoom-retinanet_teacher.py',
    teacher_ckpt='work_dirs/demo_zoom/zoom-retinanet_teacher/epoch_10.pth',
)
