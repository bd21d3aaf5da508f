_base_ = [
    '../_base_/models/retinanet_tiny_normalised.py',
    '../_base_/datasets/visdrone_mini_half.py',
    '../_base_/schedules/from_scratch.py',
    '../_base_/default_runtime.py',
]
work_dir = 'work_dirs/visdrone_mini/zoom-retinanet_student'
