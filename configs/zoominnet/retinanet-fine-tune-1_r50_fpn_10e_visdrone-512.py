# Table 9, "lr1_fine-tune": TNet trained on at 512 (3.5.5), with the learning rate of
# its last epoch, after 3 epochs with a tenth of it. No warm-up: weights, statistics and
# rate are those at which the training stopped. Its epochs 5 and 10 are e25 and e30.
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
load_from = 'work_dirs/retinanet_r50_fpn_20e_visdrone-1024/epoch_20.pth'
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(optimizer=dict(lr=0.0001))  # 20e.py: 0.01 * 0.1 * 0.1
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, milestones=[3], gamma=0.1, end=10)
]
