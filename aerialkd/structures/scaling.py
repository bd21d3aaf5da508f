"""Boxes and maps of one frame in that of another."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmdet.structures.bbox import BaseBoxes, get_box_tensor
from torch import Tensor


def scaled_boxes(boxes: Any, factor: float) -> Any:
    """Boxes in an image that is ``factor`` times as large; angles stay.

    Args:
        boxes: (..., 4) as x1, y1, x2, y2, (..., 5) as cx, cy, w, h, angle, or corners;
            a tensor or a box structure, which is not changed.
        factor: above 0.

    Example:
        >>> scaled_boxes(torch.tensor([[4., 8., 2., 6., 0.5]]), 0.5).tolist()
        [[2.0, 4.0, 1.0, 3.0, 0.5]]
    """
    tensor = get_box_tensor(boxes)
    scale = torch.full_like(tensor[..., :1], factor)
    if tensor.shape[-1] == 5:
        tensor = torch.cat([tensor[..., :4] * scale, tensor[..., 4:]], -1)
    else:
        tensor = tensor * scale
    return type(boxes)(tensor) if isinstance(boxes, BaseBoxes) else tensor


def nearest_cells(feat: Tensor, steps: tuple[float, float]) -> Tensor:
    """Sample a map: cell (i, j) of the result is the map's (i * step_y, j * step_x).

    Rounded down, so that a step of 1/2 repeats every cell and a step of 2 leaves every
    second one out.

    Args:
        feat: (N, C, h, w).
        steps: cells of ``feat`` from cell to cell of the result, along y and x.

    Returns:
        (N, C, H, W) of all cells that ``feat`` reaches: h / step_y, rounded up.

    Example:
        >>> row = torch.tensor([[[[1., 2., 3., 4., 5.]]]])
        >>> nearest_cells(row, (1, 2)).tolist()
        [[[[1.0, 3.0, 5.0]]]]
    """
    for dim, step in zip((2, 3), steps, strict=True):
        if step == 1:
            continue
        length = math.ceil(feat.shape[dim] / step - _ROUNDING)
        index = torch.arange(length, dtype=torch.float64) * step + _ROUNDING
        feat = feat.index_select(dim, index.long().to(feat.device))
    return feat


_ROUNDING = 1e-6  # steps are quotients of strides: 3 * (2 / 3) must not become 1
