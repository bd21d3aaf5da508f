_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/pkd.py',
]
model = dict(distiller=_base_.pkd)
work_dir = 'work_dirs/demo_gfl/pkd_gfl'
