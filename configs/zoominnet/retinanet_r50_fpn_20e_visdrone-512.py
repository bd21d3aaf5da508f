# ZoomInNet's student alone: "SNet" of table 3, FPN of tables 4 and 5, first row of
# table 6, "train512 + test512" of table 9. The authors' configs start each run from a
# COCO detector, of which the paper says nothing: --cfg-options load_from=FILE_OR_URL
_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/visdrone_512.py',
    '../_base_/schedules/20e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=4)  # authors' configs
val_evaluator = dict(classwise=True)  # table 5
test_evaluator = val_evaluator
