"""Neck of YOLOv8: a path aggregation network, down the pyramid and up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from aerialkd.detectors.yolov8.blocks import C2f, conv_bn_silu, init_cfg_or_default
from aerialkd.detectors.yolov8.sizes import NECK_REPEATS, model_size
from aerialkd.registry import MODELS


@MODELS.register_module()
class YOLOv8PAFPN(BaseModule):
    """Path aggregation (Liu et al. 2018) with C2f blocks that have no shortcut.

    Args:
        size: as for :class:`YOLOv8Backbone`; channels in and out follow from it.
        init_cfg: as for ``mmengine.model.BaseModule``.
    """

    def __init__(self, size: str | Mapping[str, Any] = 'n', init_cfg: Any = None):
        super().__init__(init_cfg_or_default(init_cfg))
        scale = model_size(size)
        p3, p4, p5 = scale.pyramid_channels
        repeats = scale.repeats(NECK_REPEATS)

        def block(in_channels: int, out_channels: int) -> C2f:
            return C2f(in_channels, out_channels, repeats, shortcut=False)

        self.top_down = nn.ModuleList([block(p5 + p4, p4), block(p4 + p3, p3)])
        self.downsample = nn.ModuleList(
            [conv_bn_silu(p3, p3, 3, stride=2), conv_bn_silu(p4, p4, 3, stride=2)]
        )
        self.bottom_up = nn.ModuleList([block(p3 + p4, p4), block(p4 + p5, p5)])

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps of strides 8, 16 and 32 to maps of the same shapes."""
        c3, c4, c5 = inputs
        n4 = self.top_down[0](_join(_resized(c5, c4), c4))
        p3 = self.top_down[1](_join(_resized(n4, c3), c3))
        p4 = self.bottom_up[0](_join(self.downsample[0](p3), n4))
        p5 = self.bottom_up[1](_join(self.downsample[1](p4), c5))
        return p3, p4, p5


def _join(*parts: Tensor) -> Tensor:
    return torch.cat(parts, 1)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    """Twice the size, or one cell less where the image is no multiple of 32."""
    return F.interpolate(x, size=like.shape[-2:], mode='nearest')
