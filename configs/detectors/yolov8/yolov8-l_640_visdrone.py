_base_ = './yolov8-n_640_visdrone.py'
size = 'l'
model = dict(backbone=dict(size=size), neck=dict(size=size), bbox_head=dict(size=size))
