# Tables 4 and 5, "SSD": RetinaNet without the top-down path. The authors' neck for it
# is unpublished; read as FPN's lateral and output convolutions, each level by itself.
# The extra levels start from the last lateral convolution, not from the backbone.
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
model = dict(
    backbone=dict(out_indices=(1, 2, 3)),
    neck=[
        dict(
            type='ChannelMapper',
            in_channels=[512, 1024, 2048],
            out_channels=256,
            kernel_size=1,
            act_cfg=None,
        ),
        dict(
            type='ChannelMapper',
            in_channels=[256, 256, 256],
            out_channels=256,
            kernel_size=3,
            act_cfg=None,
            num_outs=5,
        ),
    ],
)
