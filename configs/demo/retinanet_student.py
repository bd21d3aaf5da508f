_base_ = [
    '../_base_/models/retinanet_tiny.py',
    '../_base_/datasets/demo.py',
    '../_base_/schedules/from_scratch.py',
    '../_base_/default_runtime.py',
]
work_dir = 'work_dirs/demo/retinanet_student'
