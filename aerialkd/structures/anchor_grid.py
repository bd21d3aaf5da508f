"""IoU of objects with the anchors of a grid, where they can meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from mmcv.ops import box_iou_rotated
from torch import Tensor

from aerialkd.structures.box_cells import enumerate_windows, half_extents

# IoUs of a block, about 1 MB: fits caches, and bounds what the pairs take of memory.
_BLOCK = 2**18
# Above what mmcv's kernel for rotated boxes may round.
_SLACK = 1e-3


class CellOverlaps(NamedTuple):
    """IoUs of pairs of an object and a cell; pairs that are not listed have none.

    Attributes:
        box: index of the object of each pair, (P,).
        y: row of the cell, (P,).
        x: column of the cell, (P,).
        ious: with each anchor of the cell, (P, A).
    """

    box: Tensor
    y: Tensor
    x: Tensor
    ious: Tensor


@torch.no_grad()
def cell_overlaps(
    boxes: Tensor,
    anchors: Tensor,
    stride: tuple[float, float],
    size: tuple[int, int],
    least: Tensor | None = None,
) -> Iterator[CellOverlaps]:
    """IoUs of objects with the anchors of one pyramid level, block by block.

    Only cells with an anchor that the circumscribed box of an object meets are looked
    at, and a block at a time: memory does not follow cells times objects.

    Args:
        boxes: (Q, 4) as x1, y1, x2, y2 or (Q, 5) as cx, cy, w, h, angle, pixels.
        anchors: those of cell (0, 0), (A, 4) as x1, y1, x2, y2, pixels; mmdet's
            ``base_anchors``.
        stride: pixels from cell to cell, along x and y.
        size: (H, W) of the map.
        least: IoUs below it, (Q,), do not matter: some of them are given as 0, which
            spares most of the work for rotated boxes.

    Example:
        >>> anchors = torch.tensor([[-4., -4., 4., 4.]])
        >>> boxes = torch.tensor([[4., -4., 12., 4.]])
        >>> [block] = cell_overlaps(boxes, anchors, (8, 8), (1, 3))
        >>> block.x.tolist(), block.ious[:, 0].tolist()
        ([0, 1, 2], [0.0, 1.0, 0.0])
    """
    boxes = boxes.detach().float()
    if not len(boxes):
        return
    anchors = anchors.to(boxes)
    step, limit = boxes.new_tensor(stride), boxes.new_tensor([size[1], size[0]])
    centre, half = half_extents(boxes)
    # Cells whose anchors, taken together, reach the object.
    first = ((centre - half - anchors[:, 2:].amax(0)) / step).floor().clamp(min=0)
    last = ((centre + half - anchors[:, :2].amin(0)) / step).ceil()
    last = torch.minimum(last, limit - 1)
    extent = (last - first + 1).clamp(min=0).long()  # (Q, 2) as x, y
    for part in _blocks(extent.prod(-1) * len(anchors)):
        box, y, x = enumerate_windows(first[part].long(), extent[part])
        box = box + part.start
        ious = pair_overlaps(boxes, anchors, stride, box, y, x, least)
        yield CellOverlaps(box, y, x, ious)


def pair_overlaps(
    boxes: Tensor,
    anchors: Tensor,
    stride: tuple[float, float],
    box: Tensor,
    y: Tensor,
    x: Tensor,
    least: Tensor | None = None,
) -> Tensor:
    """IoUs of given pairs of an object and a cell, (P, A).

    Args:
        boxes: as for :func:`cell_overlaps`, in single precision.
        anchors: likewise.
        stride: likewise.
        box: index of the object of each pair, (P,).
        y: row of the cell, (P,).
        x: column of the cell, (P,).
        least: as for :func:`cell_overlaps`.
    """
    centre, half = half_extents(boxes)
    step = boxes.new_tensor(stride)
    offset = torch.stack([x, y], -1) * step - centre[box]  # (P, 2), cell to object
    ious = _horizontal_ious(offset, half[box], anchors)
    if boxes.shape[-1] == 5:
        if least is not None:
            around = 4 * half[box].prod(-1)
            bound = _iou_bound(ious, around, boxes[box, 2:4].prod(-1), anchors)
            ious = ious * (bound >= least[box, None])
        ious = _rotated_ious(ious, offset, boxes[box], anchors)
    return ious


def _iou_bound(ious: Tensor, around: Tensor, areas: Tensor, anchors: Tensor) -> Tensor:
    """An IoU that rotated objects do not exceed, (P, A).

    Args:
        ious: with their circumscribed boxes, (P, A).
        around: areas of these boxes, (P,).
        areas: of the objects, (P,).
        anchors: (A, 4).
    """
    others = (anchors[:, 2:] - anchors[:, :2]).prod(-1)
    inter = ious * (around[:, None] + others) / (1 + ious)
    inter = torch.minimum(inter, torch.minimum(areas[:, None], others))
    bound = inter / (areas[:, None] + others - inter).clamp(min=1e-6)
    return bound * (1 + _SLACK) + _SLACK


def _blocks(counts: Tensor) -> Iterator[slice]:
    """Split a list into runs of at most ``_BLOCK`` elements, or of one item."""
    ends = counts.cumsum(0).tolist()
    start, base = 0, 0
    for index, end in enumerate(ends):
        if end - base > _BLOCK and index > start:
            yield slice(start, index)
            start, base = index, ends[index - 1]
    yield slice(start, len(ends))


def _horizontal_ious(offset: Tensor, half: Tensor, anchors: Tensor) -> Tensor:
    """IoU with the objects' circumscribed boxes, (P, A)."""
    inter = offset.new_ones(())
    areas = (4 * half.prod(-1))[:, None] + (anchors[:, 2:] - anchors[:, :2]).prod(-1)
    for axis in (0, 1):
        low, high = anchors[:, axis], anchors[:, 2 + axis]
        reach = half[:, axis, None]
        at = offset[:, axis, None]
        # Object from -reach to reach, anchor from low + at to high + at.
        side = torch.minimum(high + at, reach)
        side -= torch.maximum(low + at, -reach)
        inter = side.clamp_(min=0) * inter
    return inter.div_(areas.sub_(inter).clamp_(min=1e-6))


def _rotated_ious(
    bound: Tensor, offset: Tensor, boxes: Tensor, anchors: Tensor
) -> Tensor:
    """Exact IoU where the circumscribed boxes meet, (P, A)."""
    pair, anchor = bound.nonzero(as_tuple=True)
    ious = torch.zeros_like(bound)
    if not len(pair):
        return ious
    low, high = anchors[anchor, :2], anchors[anchor, 2:]
    centre = (low + high) / 2 + offset[pair]  # seen from the object's centre
    upright = torch.cat([centre, high - low, torch.zeros_like(low[:, :1])], 1)
    objects = boxes[pair].clone()
    objects[:, :2] = 0
    objects[:, 2:4] = objects[:, 2:4].clamp(min=1e-3)
    ious[pair, anchor] = box_iou_rotated(upright, objects, 'iou', True)
    return ious
