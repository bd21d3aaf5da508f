# RDR-KD table III, distilled student; see yolov8-n_640_own-images.py.
_base_ = './rdr-kd_yolov8_l-n_pafpn_100e_visdrone-640.py'
own_images = dict(
    data_root='data/own/', data_prefix=dict(img_path='images', ann_path='annotations')
)
test_dataloader = dict(dataset=own_images)
