"""Blocks that YOLOv8's backbone, neck and head are made of."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

# torch's own initialisation, stated because mmcv's ConvModule has another one.
CONV_INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    a=math.sqrt(5),
    distribution='uniform',
    mode='fan_in',
    nonlinearity='leaky_relu',
)


def conv_bn_silu(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1
) -> ConvModule:
    """Convolution without bias, BatchNorm and SiLU; odd kernels keep the size."""
    return ConvModule(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.03),
        act_cfg=dict(type='SiLU'),
    )


class Bottleneck(nn.Module):
    """Two 3x3 convolutions of equal width, with or without a shortcut."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = conv_bn_silu(channels, channels, 3)
        self.conv2 = conv_bn_silu(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        out = self.conv2(self.conv1(x))
        return x + out if self.shortcut else out


class C2f(nn.Module):
    """Cross-stage block whose every bottleneck's output reaches the last convolution.

    Half of the channels pass a chain of bottlenecks; both halves and what each
    bottleneck gives are joined.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; the bottlenecks have half of them.
        repeats: number of bottlenecks.
        shortcut: whether the bottlenecks add their input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, repeats: int, shortcut: bool
    ) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.main_conv = conv_bn_silu(in_channels, 2 * hidden)
        self.final_conv = conv_bn_silu((2 + repeats) * hidden, out_channels)
        self.blocks = nn.ModuleList(
            Bottleneck(hidden, shortcut) for _ in range(repeats)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        parts = list(self.main_conv(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.final_conv(torch.cat(parts, 1))


class SPPF(nn.Module):
    """Spatial pyramid pooling: three 5x5 maxima in a row see 5, 9 and 13 cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv_bn_silu(channels, channels // 2)
        self.conv2 = conv_bn_silu(channels // 2 * 4, channels)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        parts = [self.conv1(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.conv2(torch.cat(parts, 1))


def init_cfg_or_default(init_cfg: Any) -> Any:
    """What initialises the convolutions unless a config says otherwise."""
    return dict(CONV_INIT) if init_cfg is None else init_cfg
