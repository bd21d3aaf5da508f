_base_ = '../../detectors/yolov8/yolov8-n_640_visdrone.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/detectors/yolov8/yolov8-l_640_visdrone.py',
    teacher_ckpt='work_dirs/yolov8-l_640_visdrone/epoch_100.pth',
)
# Of the necks at strides 8, 16 and 32: methods on features need both.
student_channels = [64, 128, 256]
teacher_channels = [256, 512, 512]
