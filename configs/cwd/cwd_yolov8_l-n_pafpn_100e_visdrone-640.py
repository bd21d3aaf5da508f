_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/cwd.py',
]
_base_.cwd.connectors = dict(
    align=dict(
        type='aerialkd.PyramidAligner',
        in_channels=_base_.student_channels,
        out_channels=_base_.teacher_channels,
    )
)
_base_.cwd.loss_forward_mappings.cwd = dict(recorder='fpn', connector='align')
model = dict(distiller=_base_.cwd)
