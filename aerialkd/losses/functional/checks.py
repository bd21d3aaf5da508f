"""What every function asks of its tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from aerialkd.errors import ShapeError


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
