_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/pkd_dkd.py',
]
model = dict(distiller=_base_.pkd_dkd)
work_dir = 'work_dirs/demo_gfl/pkd-dkd_gfl'
