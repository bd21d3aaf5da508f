_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/nkd.py',
]
model = dict(distiller=_base_.nkd)
work_dir = 'work_dirs/demo_gfl/nkd_gfl'
