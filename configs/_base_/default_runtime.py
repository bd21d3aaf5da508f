# The one import that makes aerialkd, mmdet, mmrotate and mmrazor usable.
custom_imports = dict(imports=['aerialkd'], allow_failed_imports=False)
default_scope = 'mmdet'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        interval=1,
        max_keep_ckpts=3,
        save_best='visdrone/AP_at_500',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_statistics=dict(type='aerialkd.SyncStatisticsHook'),
    visualization=dict(type='DetVisualizationHook'),
    non_finite_loss=dict(type='aerialkd.NonFiniteLossHook'),
    # A distillation's teacher has to find objects of the training images.
    teacher_check=dict(type='aerialkd.TeacherCheckHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# Add dict(type='TensorboardVisBackend') or dict(type='WandbVisBackend') for more.
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer'
)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
