# Tables 4 and 5, "PANET(PAFPN)".
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
model = dict(neck=dict(type='PAFPN'))
