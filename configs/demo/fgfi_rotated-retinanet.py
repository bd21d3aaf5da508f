_base_ = [
    '../_base_/pairs/demo_rotated-retinanet.py',
    '../_base_/distillers/fgfi.py',
]
_base_.fgfi.connectors.adapt.update(in_channels=64, out_channels=64, num_levels=4)
model = dict(distiller=_base_.fgfi)
