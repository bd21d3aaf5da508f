_base_ = './kd-rnet_rotated-retinanet.py'
model = dict(distiller=dict(only=['soft_class']))
