# The student of la_zoom-retinanet.py.
_base_ = [
    '../_base_/pairs/visdrone_mini_zoom-retinanet.py',
    '../_base_/distillers/cskd.py',
]
model = dict(
    architecture=dict(bbox_head=dict(type='aerialkd.LARetinaHead', upsample=2)),
    distiller=_base_.cskd,
)
