"""What a step is profiled with: the model without weights, a batch of its own data."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope

from aerialkd.algorithms import DetectionDistill
from aerialkd.engine.model_cfg import model_cfg, without_pretrained
from aerialkd.errors import ConfigError


def profiled_model(cfg: Config, device: str) -> DetectionDistill:
    """The distillation of a config, with random weights: time does not depend on them.

    Args:
        cfg: of a distillation; changed in place.
        device: to build it on.

    Raises:
        ConfigError: if nothing distils there.
    """
    if 'teacher' not in cfg.get('model', {}):
        raise ConfigError(
            f'{cfg.filename}: is no distillation, there is no model.teacher.'
        )
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    cfg.model.teacher_ckpt = None
    cfg.model.teacher = without_pretrained(model_cfg(cfg.model.teacher))
    return MODELS.build(cfg.model).to(device)


def training_batch(model: DetectionDistill, cfg: Config) -> dict[str, Any]:
    """The first images of the training data, as many as a batch has.

    Returns:
        What the data preprocessor makes of them.

    Raises:
        ConfigError: if the data cannot be read.
    """
    loader = cfg.train_dataloader
    try:
        dataset = DATASETS.build(loader.dataset)
    except (OSError, ValueError, RuntimeError) as error:  # as data sets raise them
        reason = ' '.join(str(error).split())
        raise ConfigError(f'training data cannot be read: {reason}') from error
    samples = [dataset[index] for index in range(loader.batch_size)]
    return model.data_preprocessor(pseudo_collate(samples), True)
