_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/fgfi.py',
]
_base_.fgfi.connectors.adapt.update(
    in_channels=_base_.student_channels,
    out_channels=_base_.teacher_channels,
    num_levels=3,
)
# YOLOv8 has points; the anchors are RetinaNet's at its strides.
_base_.fgfi.distill_losses.fgfi.anchors = dict(
    type='mmdet.AnchorGenerator',
    octave_base_scale=4,
    scales_per_octave=3,
    ratios=[0.5, 1.0, 2.0],
    strides=[8, 16, 32],
)
model = dict(distiller=_base_.fgfi)
