# ZoomInNet's schedule, 3.4.3, for batches of 4. Where the paper's text and the authors'
# published configs differ:
# - steps: here x0.1 as in the configs, x0.2 in the text
#   (--cfg-options param_scheduler.1.gamma=0.2);
# - weight decay: here 0.0001 as in the configs, 0.01 in the text, a hundred times what
#   RetinaNet is trained with (--cfg-options optim_wrapper.optimizer.weight_decay=0.01);
# - warm-up: here from 0.001 as in the text, from 0.00001 in the configs.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20, val_interval=1)  # 3.4.3
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    # 500 iterations from 0.001 to 0.01, 3.4.3
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        milestones=[7, 15],  # 3.4.3
        gamma=0.1,  # authors' configs
        end=20,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='SGD',
        lr=0.01,  # 3.4.3, as momentum
        momentum=0.9,
        weight_decay=0.0001,  # authors' configs
    ),
)
auto_scale_lr = dict(enable=False, base_batch_size=4)
