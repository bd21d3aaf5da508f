_base_ = './rdr-kd_retinanet.py'
model = dict(distiller=dict(only=['regenerated']))
work_dir = 'work_dirs/demo/rdr-kd-regenerated_retinanet'
