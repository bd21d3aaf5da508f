"""Overlaps of rotated boxes and of quadrilaterals, exact, in plain torch.

By Green's theorem the area that a polygon shares with a region is an integral along the
polygon's edges: of ``dx`` times the height of the region below the edge. In coordinates
in which the region is the unit square, or half of it, that height is piecewise linear,
with at most four kinks an edge. So no corner has to be found, sorted or told apart from
another one, and the result depends continuously on the boxes: equal, touching, thin or
nearly parallel ones are no special cases.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.ops.pairs import meeting_pairs

# Pairs whose areas are computed at once: what it takes of memory, about 50 MB.
_CHUNK = 2**16
# Boxes below this area, in square pixels, overlap nothing; the compiled kernel's bound.
_NO_AREA = 1e-14


def rotated_overlaps(
    boxes1: Tensor, boxes2: Tensor, mode: str = 'iou', aligned: bool = False
) -> Tensor:
    """IoU of rotated boxes, or the intersection as a share of the first box.

    Args:
        boxes1: (m, 5) as cx, cy, w, h, angle, pixels and radians.
        boxes2: (n, 5) likewise.
        mode: ``'iou'``, or ``'iof'``: intersection over the area of ``boxes1``.
        aligned: compare the boxes one by one; then m must be n.

    Returns:
        (m, n), or (m,) if aligned, in [0, 1]; 0 for boxes without area.

    Raises:
        ShapeError: if the boxes have other columns, or aligned ones other numbers.
        ConfigError: for another mode.

    Example:
        >>> boxes = torch.tensor([[8., 8., 8., 4., 0.], [8., 8., 4., 8., 0.]])
        >>> round(rotated_overlaps(boxes[:1], boxes[1:]).item(), 4)  # 16 / 48
        0.3333
    """
    return _overlaps(boxes1, boxes2, mode, aligned, columns=5)


def quadrilateral_overlaps(
    boxes1: Tensor, boxes2: Tensor, mode: str = 'iou', aligned: bool = False
) -> Tensor:
    """IoU of quadrilaterals, or the intersection as a share of the first one.

    mmcv's compiled ``box_iou_quadri`` takes a corner for inside where it is inside of a
    rectangle, hence is wrong for all others; this one is right for every outline that
    does not cross itself.

    Args:
        boxes1: (m, 8) as four corners x, y in order, either way around.
        boxes2: (n, 8) likewise.
        mode: ``'iou'``, or ``'iof'``: intersection over the area of ``boxes1``.
        aligned: compare the boxes one by one; then m must be n.

    Returns:
        (m, n), or (m,) if aligned, in [0, 1]; 0 for boxes without area.

    Raises:
        ShapeError: if the boxes have other columns, or aligned ones other numbers.
        ConfigError: for another mode.

    Example:
        >>> boxes = torch.tensor([[0., 0, 4, 0, 4, 4, 0, 4], [0., 0, 4, 0, 4, 4, 4, 4]])
        >>> quadrilateral_overlaps(boxes[:1], boxes[1:]).item()  # a triangle of it
        0.5
    """
    return _overlaps(boxes1, boxes2, mode, aligned, columns=8)


def bounds(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper corners of the horizontal boxes around boxes.

    Args:
        boxes: (n, 5) or (n, 8).

    Returns:
        (n, 2) each.
    """
    if boxes.shape[-1] == 8:
        points = boxes.reshape(-1, 4, 2)
        return points.amin(1), points.amax(1)
    size, angle = boxes[:, 2:4], boxes[:, 4:]
    half = (size * angle.cos().abs() + size.flip(1) * angle.sin().abs()) / 2
    return boxes[:, :2] - half, boxes[:, :2] + half


def areas_of(boxes: Tensor) -> Tensor:
    """Areas of boxes, (n, 5) or (n, 8), in square pixels, (n,)."""
    if boxes.shape[-1] == 5:
        return boxes[:, 2] * boxes[:, 3]
    first, second = (boxes[:, 4:6] - boxes[:, :2]), (boxes[:, 6:8] - boxes[:, 2:4])
    return _cross(first, second).abs() / 2


@torch.no_grad()
def _overlaps(
    boxes1: Tensor, boxes2: Tensor, mode: str, aligned: bool, columns: int
) -> Tensor:
    shapes = tuple(boxes1.shape), tuple(boxes2.shape)
    if any(len(shape) != 2 or shape[1] != columns for shape in shapes) or (
        aligned and shapes[0] != shapes[1]
    ):
        numbers = (
            f'(n, {columns}) twice' if aligned else f'(m, {columns}), (n, {columns})'
        )
        raise ShapeError(f'overlaps: got {shapes[0]}, {shapes[1]}, expected {numbers}.')
    if mode not in ('iou', 'iof'):
        raise ConfigError(f"overlaps: got mode {mode!r}, expected 'iou' or 'iof'.")
    # Half precision has not enough digits for coordinates in pixels.
    first, second = (
        boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()
        for boxes in (boxes1, boxes2)
    )
    if aligned:
        return _of_pairs(first, second, mode).to(boxes1.dtype)
    matrix = first.new_zeros(len(first), len(second))
    row, column = meeting_pairs(*bounds(first), *bounds(second))
    matrix[row, column] = _of_pairs(first, second, mode, row, column)
    return matrix.to(boxes1.dtype)


def _of_pairs(
    boxes1: Tensor,
    boxes2: Tensor,
    mode: str,
    row: Tensor | None = None,
    column: Tensor | None = None,
) -> Tensor:
    """Overlaps of aligned boxes, or of those that are named, (P,)."""
    count = len(boxes1) if row is None else len(row)
    overlaps = boxes1.new_empty(count)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        first = boxes1[part] if row is None else boxes1[row[part]]
        second = boxes2[part] if column is None else boxes2[column[part]]
        overlaps[part] = _of_chunk(first, second, mode)
    return overlaps


def _of_chunk(boxes1: Tensor, boxes2: Tensor, mode: str) -> Tensor:
    area1, area2 = areas_of(boxes1), areas_of(boxes2)
    shared = _shared_rotated if boxes1.shape[-1] == 5 else _shared_quadrilaterals
    inter = torch.minimum(shared(boxes1, boxes2), torch.minimum(area1, area2))
    base = area1 + area2 - inter if mode == 'iou' else area1
    overlap = (area1 >= _NO_AREA) & (area2 >= _NO_AREA) & ~_apart(boxes1, boxes2)
    return torch.where(overlap, inter / base, 0)


def _apart(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Boxes of which a line along a side tells that they share nothing, (P,) bool.

    The integral of their area rounds, and what shares nothing has to share exactly 0.
    Of quadrilaterals only the bounds are looked at.
    """
    (low1, high1), (low2, high2) = bounds(boxes1), bounds(boxes2)
    apart = ((low1 > high2) | (low2 > high1)).any(-1)
    if boxes1.shape[-1] == 8:
        return apart
    turn = boxes1[:, 4] - boxes2[:, 4]
    cos, sin = turn.cos().abs()[:, None], turn.sin().abs()[:, None]
    size1, size2 = boxes1[:, 2:4] / 2, boxes2[:, 2:4] / 2
    shift = boxes1[:, :2] - boxes2[:, :2]
    for size, other, angle in ((size1, size2, boxes1), (size2, size1, boxes2)):
        reach = size + other * cos + other.flip(1) * sin
        apart |= (_turned(shift, angle[:, 4]).abs() >= reach).any(-1)
    return apart


def _shared_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersections of rotated boxes in square pixels, (P,)."""
    # The first box, seen from the second, which becomes the unit square.
    turn, size = boxes1[:, 4] - boxes2[:, 4], boxes2[:, 2:4]
    cos, sin = turn.cos(), turn.sin()
    half_w, half_h = boxes1[:, 2] / 2, boxes1[:, 3] / 2
    along, across = torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)
    along, across = along * half_w[:, None], across * half_h[:, None]
    centre = _turned(boxes1[:, :2] - boxes2[:, :2], boxes2[:, 4])
    centre, along, across = centre / size + 0.5, along / size, across / size
    # Corners along the last axis, which is the contiguous one.
    x, y = (
        torch.stack([-a - b, a - b, a + b, b - a], 0) + c
        for a, b, c in zip(
            along.unbind(-1), across.unbind(-1), centre.unbind(-1), strict=True
        )
    )
    return _inside(x, y, slant=False).abs() * (size[:, 0] * size[:, 1])


def _shared_quadrilaterals(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersections of quadrilaterals in square pixels, (P,)."""
    points, corners = boxes1.reshape(-1, 4, 2), boxes2.reshape(-1, 4, 2)
    origin = corners[:, :1]
    points, corners = points - origin, corners - origin
    shared = torch.zeros_like(boxes1[:, 0])
    for k in (1, 2):  # the two triangles; of opposite signs where it is not convex
        side1, side2 = corners[:, k], corners[:, k + 1]
        twice = _cross(side1, side2)
        flat = twice == 0
        scale = torch.where(flat, 1, twice)[:, None]
        x = _cross(points, side2[:, None]) / scale
        y = _cross(side1[:, None], points) / scale
        area = _inside(x.T.contiguous(), y.T.contiguous(), slant=True) * twice
        shared = shared + torch.where(flat, 0, area)
    return shared.abs()


def _inside(x: Tensor, y: Tensor, slant: bool) -> Tensor:
    """Signed area of polygons inside of the unit square or of its lower left half.

    Args:
        x: corners, (4, P).
        y: likewise.
        slant: the region is 0 <= x <= 1 and 0 <= y <= 1, or 0 <= y <= 1 - x.

    Returns:
        (P,).
    """
    # Products and sums one by one: fused ones would round otherwise at the end of a
    # tensor than within, and equal boxes would have IoUs that differ in the last bit.
    dx, dy = x.roll(-1, 0) - x, y.roll(-1, 0) - y
    low, high = _ordered(_crossing(x, dx), _crossing(x - 1, dx))
    low, high = low.clamp(0, 1), high.clamp(0, 1)  # this part has 0 <= x <= 1
    top = y if not slant else y + x
    rise = dy if not slant else dy + dx
    kinks = _ordered(_crossing(y, dy), _crossing(top - 1, rise))
    first, second = (torch.minimum(torch.maximum(kink, low), high) for kink in kinks)
    area = torch.zeros_like(x)
    before = None
    for at in (low, first, second, high):
        height = at * dy + y
        limit = 1 if not slant else 1 - (at * dx + x)
        height = height.clamp(max=limit).clamp(min=0)
        if before is not None:
            area += (at - before[0]) * (height + before[1])
        before = at, height
    first, second, third, fourth = area * dx
    return (first + second + third + fourth) / 2


def _crossing(value: Tensor, slope: Tensor) -> Tensor:
    """Where ``value + t * slope`` is 0; anything where the slope is 0."""
    return -value / torch.where(slope == 0, 1, slope)


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """Points, (P, 2), as seen from boxes with these angles, (P,)."""
    x, y = points.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([x * cos + y * sin, y * cos - x * sin], -1)


def _ordered(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return torch.minimum(a, b), torch.maximum(a, b)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
