_base_ = [
    '../_base_/pairs/demo_gfl.py',
    '../_base_/distillers/cwd_wsld.py',
]
model = dict(distiller=_base_.cwd_wsld)
work_dir = 'work_dirs/demo_gfl/cwd-wsld_gfl'
