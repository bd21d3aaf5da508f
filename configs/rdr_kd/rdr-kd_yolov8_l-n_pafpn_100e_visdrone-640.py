# RDR-KD tables I and II, last row: the paper's own pair.
_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/rdr_kd.py',
]
_base_.rdr_kd.connectors = dict(
    align=dict(
        type='aerialkd.PyramidAligner',
        in_channels=_base_.student_channels,
        out_channels=_base_.teacher_channels,
    )
)
_base_.rdr_kd.distill_losses.regenerated.update(
    channels=_base_.teacher_channels, num_levels=3
)
_base_.rdr_kd.loss_forward_mappings.update(
    regenerated=dict(recorder='fpn', connector='align'),
    decoupled=dict(recorder='fpn', connector='align'),
)
model = dict(distiller=_base_.rdr_kd)
