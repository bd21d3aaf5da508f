_base_ = [
    './la_zoom-retinanet.py',
    '../_base_/pairs/visdrone_mini_zoom-retinanet.py',
    '../_base_/distillers/cskd.py',
]
model = dict(
    _delete_=True,
    **_base_.cross_scale,
    architecture=_base_.model,
    distiller=_base_.distiller,
)
train_dataloader = dict(
    dataset=dict(dataset=dict(pipeline=_base_.zoomed_train_pipeline))
)
work_dir = 'work_dirs/visdrone_mini/la-cskd_zoom-retinanet'
