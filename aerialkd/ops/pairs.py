"""Pairs of boxes whose horizontal bounds meet, without a matrix of all pairs."""

from __future__ import annotations

import torch
from torch import Tensor

# Comparisons of one block: what finding the pairs may take of memory, about 20 MB.
_BLOCK = 2**22


def meeting_pairs(
    low1: Tensor, high1: Tensor, low2: Tensor, high2: Tensor
) -> tuple[Tensor, Tensor]:
    """Pairs whose bounds overlap or touch, found block by block.

    Args:
        low1: lower corners of the first bounds, (m, 2).
        high1: their upper corners, (m, 2).
        low2: lower corners of the second bounds, (n, 2).
        high2: their upper corners, (n, 2).

    Returns:
        Index of the first and of the second of each pair, (P,) each; the first rising,
        the second rising within it.
    """
    rows = max(1, _BLOCK // max(1, len(low2)))
    blocks = []
    for start in range(0, max(1, len(low1)), rows):
        part = slice(start, start + rows)
        meet = low1[part, None, 0] <= high2[None, :, 0]
        meet &= high1[part, None, 0] >= low2[None, :, 0]
        meet &= low1[part, None, 1] <= high2[None, :, 1]
        meet &= high1[part, None, 1] >= low2[None, :, 1]
        first, second = meet.nonzero(as_tuple=True)
        blocks.append((first + start, second))
    first, second = (torch.cat(column) for column in zip(*blocks, strict=True))
    return first, second
