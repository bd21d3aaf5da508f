"""Students with their configs and checkpoints, for the tests of the export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.apis import inference_detector
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from tests.builders import distill, gfl, retinanet, rotated_retinanet

CLASSES = ('car', 'van', 'bus')
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.Resize', scale_factor=1.0),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor', 'instances'),
    ),
]


STUDENTS = dict(retinanet=retinanet, gfl=gfl, rotated=rotated_retinanet)


def config(model: dict, scope: str = 'mmdet', **dataset: Any) -> Config:
    """The config of a run with this model."""
    dataset = {
        'type': 'aerialkd.VisDroneDataset',
        'metainfo': dict(classes=CLASSES),
        'pipeline': PIPELINE,
        **dataset,
    }
    return Config(
        dict(
            default_scope=scope,
            custom_imports=dict(imports=['aerialkd']),
            model=model,
            test_dataloader=dict(batch_size=1, dataset=dataset),
        )
    )


def distillation(student: str) -> Config:
    """The config of a distillation of one of the ``STUDENTS``, pretrained backbone."""
    architecture = STUDENTS[student]()
    architecture.backbone.init_cfg = dict(type='Pretrained', checkpoint='nowhere.pth')
    model = distill(architecture=architecture, teacher=STUDENTS[student]())
    return config(model, 'mmrotate' if student == 'rotated' else 'mmdet')


def build(model: dict) -> nn.Module:
    """The model with weights and running statistics that are not the defaults."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = MODELS.build(ConfigDict(model).copy())
    with torch.no_grad():
        for value in built.state_dict().values():
            if value.is_floating_point():
                # Factors around one: variances stay positive, activations small.
                value.mul_(0.9 + 0.2 * torch.rand_like(value))
    return built.eval()


def save(model: nn.Module, path: Path, classes: tuple[str, ...] | None = None) -> Path:
    """Write a checkpoint as MMEngine's hook does."""
    meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


def image(height: int = 97, width: int = 131) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def predictions(model: nn.Module, cfg: Config) -> dict[str, torch.Tensor]:
    """Detections of mmdet's own inference, through the test pipeline of ``cfg``."""
    model.cfg = cfg
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        found = inference_detector(model, image()).pred_instances
    return {key: getattr(value, 'tensor', value) for key, value in found.items()}
