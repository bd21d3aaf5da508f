_base_ = '../../visdrone_mini/zoom-retinanet_student.py'
model = dict(
    _delete_=True,
    type='aerialkd.CrossScaleDistill',
    scale=2,
    architecture=_base_.model,
    teacher='configs/visdrone_mini/zoom-retinanet_teacher.py',
    teacher_ckpt='work_dirs/visdrone_mini/zoom-retinanet_teacher/epoch_12.pth',
)
train_dataloader = dict(
    dataset=dict(dataset=dict(pipeline=_base_.zoomed_train_pipeline))
)
# Training images are shrunk with an antialiasing filter; those to predict on alike.
_base_.test_pipeline[1].interpolation = 'area'
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
