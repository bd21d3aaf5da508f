# RDR-KD tables I and II, last row: the paper's own pair.
_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/rdr_kd.py',
]
channels = [256, 512, 512]  # of the teacher's neck, at strides 8, 16 and 32
_base_.rdr_kd.connectors = dict(
    align=dict(
        type='aerialkd.PyramidAligner',
        in_channels=[64, 128, 256],
        out_channels=channels,
    )
)
_base_.rdr_kd.distill_losses.regenerated.update(channels=channels, num_levels=3)
_base_.rdr_kd.loss_forward_mappings.update(
    regenerated=dict(recorder='fpn', connector='align'),
    decoupled=dict(recorder='fpn', connector='align'),
)
model = dict(distiller=_base_.rdr_kd)
