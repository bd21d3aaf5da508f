_base_ = '../../detectors/gfl/gfl_r34_fpn_1x_visdrone-1333x800.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher='configs/detectors/gfl/gfl_r101_fpn_1x_visdrone-1333x800.py',
    teacher_ckpt='work_dirs/gfl_r101_fpn_1x_visdrone-1333x800/epoch_12.pth',
)
