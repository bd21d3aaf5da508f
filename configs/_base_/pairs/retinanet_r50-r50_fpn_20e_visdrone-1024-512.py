# ZoomInNet's teacher, the student's own network at 1024, for every student at 512 of
# configs/zoominnet.
cross_scale = dict(
    type='aerialkd.CrossScaleDistill',
    scale=2,  # ZoomInNet 3.1
    teacher='configs/zoominnet/retinanet_r50_fpn_20e_visdrone-1024.py',
    teacher_ckpt='work_dirs/retinanet_r50_fpn_20e_visdrone-1024/epoch_20.pth',
)
