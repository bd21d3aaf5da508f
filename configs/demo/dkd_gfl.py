_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/dkd.py',
]
model = dict(distiller=_base_.dkd)
work_dir = 'work_dirs/demo_gfl/dkd_gfl'
