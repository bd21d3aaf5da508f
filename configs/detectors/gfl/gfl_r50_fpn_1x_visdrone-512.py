_base_ = [
    '../../_base_/models/gfl_r50_fpn.py',
    '../../_base_/datasets/visdrone_512.py',
    '../../_base_/schedules/1x.py',
    '../../_base_/default_runtime.py',
]
