_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/bckd.py',
]
model = dict(distiller=_base_.bckd)
work_dir = 'work_dirs/demo_gfl/bckd_gfl'
