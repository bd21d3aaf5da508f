# As from_scratch.py in fewer epochs, with a higher learning rate, which the demo's
# normalised pyramid and head allow.
_base_ = './from_scratch.py'
max_epochs = 10
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
_base_.param_scheduler[1].T_max = max_epochs
optim_wrapper = dict(optimizer=dict(lr=0.003))
