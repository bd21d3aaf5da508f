# Tables 4 and 5, "NAS-FPN": only the neck differs, which is what the table compares.
# The authors' config also takes RetinaSepBNHead and the balanced loss, makes anchors
# below IoU 0.5 background, and keeps the learning rate for all 20 epochs.
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
model = dict(
    data_preprocessor=dict(pad_size_divisor=128),  # each level twice the next
    neck=dict(
        _delete_=True,
        type='NASFPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_outs=5,
        stack_times=7,
        start_level=1,
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
)
