# Table III, mAP(train): for tools/test.py with the checkpoint of the config inherited.
_base_ = './kd-rnet_rotated-retinanet_r50-r34_fpn_1x_dota-600.py'
test_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='train/images', ann_path='train/labelTxt'),
        bad_annotations='skip',
    )
)
test_evaluator = dict(
    merging=dict(
        scenes=dict(
            img_path='data/DOTA/train/images', ann_path='data/DOTA/train/labelTxt'
        )
    )
)
