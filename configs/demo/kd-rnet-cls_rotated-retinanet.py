_base_ = './kd-rnet_rotated-retinanet.py'
model = dict(distiller=dict(only=['soft_class']))
work_dir = 'work_dirs/demo_rotated/kd-rnet-cls_rotated-retinanet'
