# Table 8, "Cascade R-CNN". Anchors, of which the paper says nothing, are those of
# MMDetection, as in the authors' configs.
_base_ = [
    'mmdet::_base_/models/cascade-rcnn_r50_fpn.py',
    '../_base_/datasets/visdrone_512.py',
    '../_base_/schedules/20e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    roi_head=dict(
        bbox_head=[
            dict(head, num_classes=10) for head in _base_.model.roi_head.bbox_head
        ]
    ),
    train_cfg=dict(
        # What lies half inside an ignored region takes no part.
        rpn=dict(assigner=dict(ignore_iof_thr=0.5)),
        rcnn=[
            dict(stage, assigner=dict(stage.assigner, ignore_iof_thr=0.5))
            for stage in _base_.model.train_cfg.rcnn
        ],
    ),
    test_cfg=dict(rcnn=dict(max_per_img=500)),  # VisDrone's protocol
)
train_dataloader = dict(batch_size=4)  # authors' configs
