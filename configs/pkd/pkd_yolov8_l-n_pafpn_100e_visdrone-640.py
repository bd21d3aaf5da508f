_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/pkd.py',
]
_base_.pkd.connectors = dict(
    align=dict(
        type='aerialkd.PyramidAligner',
        in_channels=_base_.student_channels,
        out_channels=_base_.teacher_channels,
    )
)
_base_.pkd.loss_forward_mappings.pkd = dict(recorder='fpn', connector='align')
model = dict(distiller=_base_.pkd)
