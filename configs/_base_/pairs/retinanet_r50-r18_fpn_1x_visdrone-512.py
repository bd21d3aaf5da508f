_base_ = '../../detectors/retinanet/retinanet_r18_fpn_1x_visdrone-512.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/detectors/retinanet/retinanet_r50_fpn_1x_visdrone-512.py',
    teacher_ckpt='work_dirs/retinanet_r50_fpn_1x_visdrone-512/epoch_12.pth',
)
