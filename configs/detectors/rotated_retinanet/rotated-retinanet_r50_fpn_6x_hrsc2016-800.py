_base_ = [
    '../../_base_/models/rotated_retinanet_r50_fpn.py',
    '../../_base_/datasets/hrsc2016_800.py',
    '../../_base_/schedules/6x.py',
    '../../_base_/rotated_runtime.py',
]
model = dict(bbox_head=dict(num_classes=1))
# MMRotate's rate for a batch of 2, which the KLD loss needs clipped.
optim_wrapper = dict(
    optimizer=dict(lr=0.0025), clip_grad=dict(max_norm=35, norm_type=2)
)
auto_scale_lr = dict(base_batch_size=2)
