_base_ = '../../detectors/retinanet/retinanet_r18_fpn_1x_visdrone-1333x800.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/detectors/retinanet/retinanet_r101_fpn_1x_visdrone-1333x800.py',
    teacher_ckpt='work_dirs/retinanet_r101_fpn_1x_visdrone-1333x800/epoch_12.pth',
)
