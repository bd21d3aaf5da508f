# Table 8, "FR with ResNet-50". Anchors, of which the paper says nothing, are those of
# MMDetection, as in the authors' configs.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/visdrone_512.py',
    '../_base_/schedules/20e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    roi_head=dict(bbox_head=dict(num_classes=10)),
    train_cfg=dict(
        # What lies half inside an ignored region takes no part.
        rpn=dict(assigner=dict(ignore_iof_thr=0.5)),
        rcnn=dict(assigner=dict(ignore_iof_thr=0.5)),
    ),
    test_cfg=dict(rcnn=dict(max_per_img=500)),  # VisDrone's protocol
)
train_dataloader = dict(batch_size=4)  # authors' configs
