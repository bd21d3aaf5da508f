_base_ = [
    '../../_base_/models/yolov8.py',
    '../../_base_/datasets/visdrone_640.py',
    '../../_base_/schedules/yolov8_100e.py',
    '../../_base_/default_runtime.py',
]
custom_hooks = [
    *_base_.custom_hooks,
    # framework default: no mosaic in the last ten epochs
    dict(
        type='PipelineSwitchHook',
        switch_epoch=_base_.max_epochs - 10,
        switch_pipeline=_base_.late_pipeline,
    ),
]
