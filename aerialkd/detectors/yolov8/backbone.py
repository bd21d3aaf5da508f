"""Backbone of YOLOv8: a stem and four stages of C2f, the last with SPPF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from aerialkd.detectors.yolov8.blocks import (
    SPPF,
    C2f,
    conv_bn_silu,
    init_cfg_or_default,
)
from aerialkd.detectors.yolov8.sizes import CHANNELS, REPEATS, model_size
from aerialkd.registry import MODELS


@MODELS.register_module()
class YOLOv8Backbone(BaseModule):
    """CSP backbone with C2f blocks; every stage halves the resolution.

    Args:
        size: ``'n'``, ``'s'``, ``'m'``, ``'l'``, ``'x'`` or a dict with ``depth``,
            ``width`` and ``max_channels``.
        init_cfg: as for ``mmengine.model.BaseModule``.

    Example:
        >>> levels = YOLOv8Backbone('n')(torch.rand(1, 3, 64, 96))
        >>> [tuple(level.shape[1:]) for level in levels]
        [(64, 8, 12), (128, 4, 6), (256, 2, 3)]
    """

    def __init__(self, size: str | Mapping[str, Any] = 'n', init_cfg: Any = None):
        super().__init__(init_cfg_or_default(init_cfg))
        scale = model_size(size)
        stem, *stages = (scale.channels(base) for base in CHANNELS)
        self.stem = conv_bn_silu(3, stem, 3, stride=2)
        self.stages = nn.ModuleList()
        previous = stem
        for channels, repeats in zip(stages, REPEATS, strict=True):
            stage: list[nn.Module] = [
                conv_bn_silu(previous, channels, 3, stride=2),
                C2f(channels, channels, scale.repeats(repeats), shortcut=True),
            ]
            if len(self.stages) == len(REPEATS) - 1:
                stage.append(SPPF(channels))
            self.stages.append(nn.Sequential(*stage))
            previous = channels

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """From (N, 3, H, W) to the maps of strides 8, 16 and 32."""
        levels = []
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return tuple(levels[1:])
