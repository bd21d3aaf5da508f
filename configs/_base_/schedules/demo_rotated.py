# As demo.py, evaluated at the end only: NMS of rotated boxes takes its time on a CPU.
_base_ = './demo.py'
train_cfg = dict(val_interval=10)
