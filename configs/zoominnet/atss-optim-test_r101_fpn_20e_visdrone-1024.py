# Table 6, "+Optim_test_args": the checkpoint of atss_r101_fpn_20e_visdrone-1024.py,
# tested with other arguments. The rows above it are AP@100, this one is AP@500.
# "+TTA" is the same with tools/test.py --tta; the paper does not say what it added, the
# tool adds the mirror image.
_base_ = './atss_r101_fpn_20e_visdrone-1024.py'
# The paper gives no numbers: ATSS's NMS, VisDrone's 500, hardly a threshold on scores.
nms = dict(type='nms', iou_threshold=0.6)
model = dict(test_cfg=dict(score_thr=0.001, nms=nms, max_per_img=500))
tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=nms, max_per_img=500))
