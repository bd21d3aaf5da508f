_base_ = './kd-rnet_rotated-retinanet_r50-r34_fpn_1x_dota-600.py'
model = dict(distiller=dict(only=['soft_class']))
