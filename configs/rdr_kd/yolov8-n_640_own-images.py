# RDR-KD table III, baseline: the model trained on VisDrone, evaluated on images of your
# own in VisDrone's layout, images/ and annotations/ (the paper's 79 are not public).
_base_ = '../detectors/yolov8/yolov8-n_640_visdrone.py'
own_images = dict(
    data_root='data/own/', data_prefix=dict(img_path='images', ann_path='annotations')
)
test_dataloader = dict(dataset=own_images)
