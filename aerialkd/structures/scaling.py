"""Boxes and maps of one frame in that of another."""

from __future__ import annotations

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


def nearest_cells(
    feat: Tensor, steps: tuple[float, float], size: tuple[int, int] | None = None
) -> Tensor:
    """Sample a map: cell (i, j) of the result is the map's (i * step_y, j * step_x).

    Rounded down, so that a step of 1/2 repeats every cell and a step of 2 leaves every
    second one out. The last cells are repeated where the map ends earlier.

    Args:
        feat: (N, C, h, w).
        steps: cells of ``feat`` from cell to cell of the result, along y and x.
        size: (H, W); by default what ``feat`` covers, h / step_y rounded down.

    Example:
        >>> row = torch.tensor([[[[1., 2., 3., 4.]]]])
        >>> nearest_cells(row, (1, 2)).tolist()
        [[[[1.0, 3.0]]]]
    """
    for dim, step in zip((2, 3), steps, strict=True):
        have = feat.shape[dim]
        want = int(have / step + _ROUNDING) if size is None else size[dim - 2]
        if step == 1 and want <= have:
            feat = feat.narrow(dim, 0, want)
            continue
        index = torch.arange(want, dtype=torch.float64) * step + _ROUNDING
        index = index.long().clamp(max=have - 1).to(feat.device)
        feat = feat.index_select(dim, index)
    return feat


_ROUNDING = 1e-6  # 3 * (2 / 3) must not become 1
