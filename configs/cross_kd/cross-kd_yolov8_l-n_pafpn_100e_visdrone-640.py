_base_ = [
    '../_base_/pairs/yolov8_l-n_pafpn_100e_visdrone-640.py',
    '../_base_/distillers/cross_kd.py',
]
# YOLOv8's towers have two convolutions. Those of boxes are as wide in n as in l.
_base_.cross_kd.recorders.towers.idx = 1
_base_.cross_kd.connectors = dict(
    align=dict(
        type='aerialkd.TowerAligner',
        cls=dict(in_channels=64, out_channels=256, num_levels=3),
    )
)
_base_.cross_kd.loss_forward_mappings.cross_kd = dict(
    recorder='towers', connector='align'
)
# The gains of the task losses, and their factor: the images of a GPU.
_base_.cross_kd.distill_losses.cross_kd.update(
    cls_weight=0.5, reg_weight=7.5, loss_weight=16.0
)
model = dict(distiller=_base_.cross_kd)
