_base_ = './rdr-kd_retinanet.py'
model = dict(distiller=dict(only=['responsive']))
