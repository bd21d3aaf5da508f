# ZoomInNet's teacher: "TNet" of table 3, "+Large image size (1024)" of table 6,
# "train1024 + test1024" of table 9.
_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/visdrone_1024.py',
    '../_base_/schedules/20e.py',
    '../_base_/default_runtime.py',
]
