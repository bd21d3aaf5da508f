"""What every function asks of its tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from aerialkd.errors import ConfigError, ShapeError


def same_shape(name: str, s: Tensor, t: Tensor) -> None:
    """Refuse tensors that cannot be compared element by element.

    Raises:
        ShapeError: if the shapes differ.
    """
    if s.shape != t.shape:
        raise ShapeError(
            f'{name}: student {tuple(s.shape)} and teacher {tuple(t.shape)} must have '
            'the same shape. Different channels need a connector (PyramidAligner), '
            'different sizes a resize.'
        )


def at_least_float(tensor: Tensor) -> Tensor:
    """Single precision for half: sums over a batch overflow or lose the small ones."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def above_zero(name: str, value: float) -> None:
    """Refuse a setting that must be positive, a temperature for example.

    Raises:
        ConfigError: if it is not.
    """
    if not value > 0:
        raise ConfigError(f'{name}: got {value!r}, expected a number above 0.')
