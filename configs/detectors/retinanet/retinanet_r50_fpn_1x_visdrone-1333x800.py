_base_ = [
    '../../_base_/models/retinanet_r50_fpn.py',
    '../../_base_/datasets/visdrone_1333x800.py',
    '../../_base_/schedules/1x.py',
    '../../_base_/default_runtime.py',
]
