# Table 3, "SNet + FA + CSKD".
_base_ = [
    './fa_retinanet_r50_fpn_20e_visdrone-512.py',
    '../_base_/pairs/retinanet_r50-r50_fpn_20e_visdrone-1024-512.py',
    '../_base_/distillers/cskd.py',
]
model = dict(
    _delete_=True,
    **_base_.cross_scale,
    architecture=_base_.model,
    distiller=_base_.distiller,
)
train_dataloader = dict(dataset=dict(pipeline=_base_.zoomed_train_pipeline))
