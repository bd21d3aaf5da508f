# The student's own network on images of twice its size.
_base_ = [
    '../_base_/models/retinanet_tiny_normalised.py',
    '../_base_/datasets/demo.py',
    '../_base_/schedules/demo.py',
    '../_base_/default_runtime.py',
]
work_dir = 'work_dirs/demo_zoom/zoom-retinanet_teacher'
