# default_runtime.py for rotated boxes.
_base_ = './default_runtime.py'
default_scope = 'mmrotate'
default_hooks = dict(
    checkpoint=dict(save_best='rotated/mAP50'),
    visualization=dict(type='mmdet.DetVisualizationHook'),
)
visualizer = dict(type='mmrotate.RotLocalVisualizer')
