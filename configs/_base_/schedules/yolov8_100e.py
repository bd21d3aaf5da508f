# SGD as in RDR-KD III-A; the rest is the default of the framework that it trains with.
max_epochs = 100  # framework default
warmup_epochs = 3  # framework default
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.001,
        by_epoch=True,
        begin=0,
        end=warmup_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.01,  # framework default
        by_epoch=True,
        begin=warmup_epochs,
        end=max_epochs,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='SGD',
        # Framework default. It presumes losses multiplied by the batch size
        # (YOLOv8Head.times_batch_size). The framework adds up 64 images a step; here 16
        # make one: a quarter of the gradient, four times the steps.
        lr=0.01,
        momentum=0.937,  # RDR-KD III-A
        weight_decay=0.0005,  # RDR-KD III-A
        nesterov=True,  # framework default
    ),
    clip_grad=dict(max_norm=10.0),  # framework default
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),  # framework default
)
custom_hooks = [
    # Averaged weights are what is validated and saved; statistics are averaged, too.
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0001,  # framework default, as is the next
        gamma=2000,
        update_buffers=True,
        priority=49,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
