# The student of la_zoom-retinanet.py.
_base_ = './cskd_zoom-retinanet.py'
model = dict(
    architecture=dict(bbox_head=dict(type='aerialkd.LARetinaHead', upsample=2))
)
