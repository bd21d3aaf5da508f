_base_ = './rdr-kd_retinanet.py'
model = dict(distiller=dict(only=['responsive']))
work_dir = 'work_dirs/demo/rdr-kd-responsive_retinanet'
