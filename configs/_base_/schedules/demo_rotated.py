# As demo.py, shorter: a step with rotated boxes takes three times as long.
_base_ = './from_scratch.py'
max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
_base_.param_scheduler[1].T_max = max_epochs
optim_wrapper = dict(optimizer=dict(lr=0.003))
