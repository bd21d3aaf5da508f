_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/wsld.py',
]
model = dict(distiller=_base_.wsld)
work_dir = 'work_dirs/demo_gfl/wsld_gfl'
