"""The five sizes of YOLOv8: one architecture, scaled in depth and width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aerialkd.errors import ConfigError

REPEATS = (3, 6, 6, 3)  # bottlenecks in the C2f of the backbone's stages
CHANNELS = (64, 128, 256, 512, 1024)  # of the stem and the stages
NECK_REPEATS = 3


@dataclass(frozen=True)
class ModelSize:
    """How far the architecture is scaled.

    Attributes:
        depth: factor of the number of bottlenecks.
        width: factor of the number of channels.
        max_channels: bound of the number of channels before ``width`` is applied.
    """

    depth: float
    width: float
    max_channels: int = 1024

    def channels(self, base: int) -> int:
        """Channels at this size, a multiple of 8."""
        return math.ceil(min(base, self.max_channels) * self.width / 8) * 8

    def repeats(self, base: int) -> int:
        """Bottlenecks at this size, at least one."""
        return max(round(base * self.depth), 1)

    @property
    def pyramid_channels(self) -> tuple[int, int, int]:
        """Channels at strides 8, 16 and 32, of the backbone and of the neck."""
        third, fourth, fifth = (self.channels(base) for base in CHANNELS[2:])
        return third, fourth, fifth


SIZES = {
    'n': ModelSize(0.33, 0.25, 1024),
    's': ModelSize(0.33, 0.50, 1024),
    'm': ModelSize(0.67, 0.75, 768),
    'l': ModelSize(1.00, 1.00, 512),
    'x': ModelSize(1.00, 1.25, 512),
}


def model_size(size: str | Mapping[str, Any] | ModelSize) -> ModelSize:
    """Size by its letter, or one's own as ``dict(depth=.33, width=.125)``.

    Raises:
        ConfigError: if there is no such size.

    Example:
        >>> model_size('n').pyramid_channels
        (64, 128, 256)
    """
    if isinstance(size, ModelSize):
        return size
    if isinstance(size, str) and size in SIZES:
        return SIZES[size]
    try:
        return ModelSize(**size)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(
            f'size: got {size!r}, expected one of {", ".join(SIZES)} or a dict with '
            'depth, width and, if wanted, max_channels.'
        ) from error
