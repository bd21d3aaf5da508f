# ZoomInNet's LA with rotated boxes, on tiles at half their size.
_base_ = [
    '../_base_/models/rotated_retinanet_r50_fpn.py',
    '../_base_/datasets/dota_512.py',
    '../_base_/schedules/1x.py',
    '../_base_/rotated_runtime.py',
]
model = dict(bbox_head=dict(type='aerialkd.LARetinaHead', upsample=2))
# As the teacher, configs/detectors/rotated_retinanet/*_r50_fpn_1x_dota-1024.py.
optim_wrapper = dict(
    optimizer=dict(lr=0.0025), clip_grad=dict(max_norm=35, norm_type=2)
)
auto_scale_lr = dict(base_batch_size=2)
