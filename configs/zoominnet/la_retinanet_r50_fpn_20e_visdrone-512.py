# Table 3, "SNet + LA": predictions on a grid twice as fine.
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
model = dict(bbox_head=dict(type='aerialkd.LARetinaHead', upsample=2))
