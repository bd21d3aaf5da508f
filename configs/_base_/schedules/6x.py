# MMRotate's 6x schedule for small data sets: 72 epochs.
_base_ = './1x.py'
train_cfg = dict(max_epochs=72, val_interval=12)
_base_.param_scheduler[1].update(milestones=[48, 66], end=72)
