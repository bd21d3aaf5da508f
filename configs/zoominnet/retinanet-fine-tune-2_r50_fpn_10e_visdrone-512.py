# Table 9, "lr2_fine-tune": as retinanet-fine-tune-1_r50_fpn_10e_visdrone-512.py, with a
# tenth of the last epoch's learning rate from the beginning (3.5.5).
_base_ = './retinanet_r50_fpn_20e_visdrone-512.py'
load_from = 'work_dirs/retinanet_r50_fpn_20e_visdrone-1024/epoch_20.pth'
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(optimizer=dict(lr=0.00001))  # 20e.py: 0.01 * 0.1 * 0.1 * 0.1
param_scheduler = None  # one rate throughout
