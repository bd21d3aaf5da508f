_base_ = '../../demo/zoom-retinanet_student.py'
model = dict(
    _delete_=True,
    type='aerialkd.CrossScaleDistill',
    scale=2,
    architecture=_base_.model,
    teacher='configs/demo/zoom-retinanet_teacher.py',
    teacher_ckpt='work_dirs/demo_zoom/zoom-retinanet_teacher/epoch_10.pth',
)
train_dataloader = dict(dataset=dict(pipeline=_base_.zoomed_train_pipeline))
