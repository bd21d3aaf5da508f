_base_ = [
    '../_base_/pairs/demo_retinanet.py',
    '../_base_/distillers/cwd.py',
]
model = dict(distiller=_base_.cwd)
work_dir = 'work_dirs/demo/cwd_retinanet'
