_base_ = './rdr-kd_retinanet.py'
model = dict(distiller=dict(only=['decoupled']))
work_dir = 'work_dirs/demo/rdr-kd-decoupled_retinanet'
