"""Evaluating a checkpoint on the test data of a config."""

from __future__ import annotations

import copy

import torch
from mmdet.models.test_time_augs import DetTTAModel
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner

from aerialkd.engine.classes import check_classes, compare_names
from aerialkd.engine.distributed import plain_model
from aerialkd.engine.model_cfg import student_model_cfg
from aerialkd.engine.runners import build_runner
from aerialkd.engine.weights import load_strictly, load_weights
from aerialkd.errors import ConfigError

META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'instances',
    'flip',
    'flip_direction',
)


def build_test_runner(cfg: Config, checkpoint: str, tta: bool = False) -> Runner:
    """Build a runner whose ``test()`` evaluates a checkpoint.

    A distilled student is evaluated alone: neither its teacher nor the teacher's
    checkpoint is needed. The weights are loaded strictly.

    Args:
        cfg: a plain or a distillation config, also one that
            :func:`add_test_time_augmentation` was given; changed in place.
        checkpoint: ``.pth`` or ``.safetensors`` file.
        tta: test-time augmentation, as configured or with the mirror image.

    Raises:
        CheckpointError: if the checkpoint does not fit.
        ConfigError: if the detector, its weights and the test data have other classes,
            detections of this kind cannot be merged, there is nothing to test on, or a
            data loader's settings are wrong.
    """
    weights = load_weights(checkpoint)
    cfg.model = student_model_cfg(cfg)
    cfg.load_from, cfg.resume = None, False
    if tta:
        add_test_time_augmentation(cfg)
    runner = build_runner(cfg, 'test')
    model = plain_model(runner)
    if isinstance(model, BaseTTAModel):
        _check_merging(model)
        model = model.module
    check_classes(cfg, model, ['test_dataloader'])
    compare_names(weights.classes, cfg, 'test_dataloader', str(checkpoint))
    load_strictly(model, weights)
    return runner


def check_device(device: str) -> None:
    """Make sure that a device such as ``'cuda:0'`` can be used.

    Raises:
        ConfigError: if it cannot.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'device: got {device!r}, which fails: {reason}') from error


def add_test_time_augmentation(cfg: Config) -> None:
    """Merge the detections of the image and its mirror image, unless configured.

    Args:
        cfg: a plain or a distillation config; changed in place, to one of the student
            or plain detector.
    """
    cfg.model = student_model_cfg(cfg)
    limit = cfg.model.get('test_cfg', {}).get('max_per_img', 100)
    cfg.setdefault(
        'tta_model',
        dict(
            type='DetTTAModel',  # registered at MMEngine's root, so without a scope
            tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=limit),
        ),
    )
    if 'tta_pipeline' not in cfg:
        pipeline = copy.deepcopy(cfg.test_dataloader.dataset.pipeline)
        flips = [dict(type='RandomFlip', prob=prob) for prob in (1.0, 0.0)]
        pack = dict(type='PackDetInputs', meta_keys=META_KEYS)
        pipeline[-1] = dict(type='TestTimeAug', transforms=[flips, [pack]])
        cfg.tta_pipeline = pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def _check_merging(model: BaseTTAModel) -> None:
    coder = getattr(getattr(model.module, 'bbox_head', None), 'bbox_coder', None)
    if isinstance(model, DetTTAModel) and getattr(coder, 'encode_size', 4) != 4:
        raise ConfigError(
            'test-time augmentation: got rotated boxes, but DetTTAModel merges '
            'horizontal ones alone; set tta_model and tta_pipeline in the config.'
        )
