# Table 3, "SNet + LA + CSKD".
_base_ = './cskd_retinanet_r50-r50_fpn_20e_visdrone-512.py'
model = dict(
    architecture=dict(bbox_head=dict(type='aerialkd.LARetinaHead', upsample=2))
)
