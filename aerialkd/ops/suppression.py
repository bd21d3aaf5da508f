"""Non-maximum suppression of horizontal and rotated boxes and quadrilaterals.

All are the greedy one: by falling score, a box suppresses those behind it that overlap
it too much, unless it is suppressed itself. Here that happens in blocks of boxes, so
that the work follows kept boxes times open ones, without a Python loop over boxes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerialkd.ops.areas import (
    areas_of,
    bounds,
    quadrilateral_overlaps,
    rotated_overlaps,
)

# Boxes that are settled at once, and what a block compares at most.
_HEAD, _COMPARISONS = 256, 2**20
# Above what single precision rounds, so that a bound excludes nothing that counts.
_SLACK = 1e-4


def keep_horizontal(
    boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0
) -> Tensor:
    """Indices of the boxes that are kept, by falling score.

    Args:
        boxes: (n, 4) as x1, y1, x2, y2.
        scores: (n,).
        iou_threshold: IoU above which the worse of two boxes is suppressed.
        offset: 1 where x2 and y2 lie inside of the box, as in early MMDetection.
    """
    areas = (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
    x1, y1, x2, y2 = boxes.T.contiguous()

    def rivals(head: Tensor, rest: Tensor) -> Tensor:
        # In the order of operations of the compiled operator: equal to the last bit.
        width = torch.minimum(x2[head, None], x2[rest])
        width.sub_(torch.maximum(x1[head, None], x1[rest])).add_(offset).clamp_(min=0)
        height = torch.minimum(y2[head, None], y2[rest])
        height.sub_(torch.maximum(y1[head, None], y1[rest])).add_(offset).clamp_(min=0)
        inter = width.mul_(height)
        union = (areas[head, None] + areas[rest]).sub_(inter)
        return inter.div_(union) > iou_threshold

    return _keep(scores, rivals)


def keep_rotated(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> Tensor:
    """Indices of the rotated boxes that are kept, by falling score.

    Args:
        boxes: (n, 5) as cx, cy, w, h, angle.
        scores: (n,).
        iou_threshold: IoU from which the worse of two boxes is suppressed.
        labels: (n,); boxes with different ones do not suppress each other.
    """
    return _keep_polygons(boxes, scores, iou_threshold, labels, rotated_overlaps)


def keep_quadrilaterals(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> Tensor:
    """Indices of the quadrilaterals that are kept, by falling score.

    Args:
        boxes: (n, 8) as four corners in order.
        scores: (n,).
        iou_threshold: IoU from which the worse of two boxes is suppressed.
        labels: (n,); boxes with different ones do not suppress each other.
    """
    return _keep_polygons(boxes, scores, iou_threshold, labels, quadrilateral_overlaps)


def soften(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """Soft-NMS: scores fall with the overlap instead of boxes (Bodla et al. 2017).

    Boxes that drop out leave their place to the last one, as in the compiled operator:
    it decides which of equal scores comes first.

    Args:
        boxes: (n, 4) as x1, y1, x2, y2, on the CPU.
        scores: (n,).
        iou_threshold: IoU from which methods 0 and 1 lower a score.
        sigma: width of method 2.
        min_score: boxes whose score falls below it drop out.
        method: 0: to nothing; 1: by ``1 - IoU``; 2: by ``exp(-IoU**2 / sigma)``.
        offset: as for :func:`keep_horizontal`.

    Returns:
        Boxes with their new scores, (m, 5), and their indices, (m,), in the order in
        which they were chosen.
    """
    rows = boxes.detach().numpy().astype(np.float32)
    size = rows[:, 2:] - rows[:, :2] + np.float32(offset)
    areas = size[:, 0] * size[:, 1]
    score = scores.detach().numpy().astype(np.float32)
    index = np.arange(len(rows))
    columns = [rows, areas, score, index]
    n, start = len(rows), 0
    while start < n:
        # Scores of boxes without area can be no numbers: those are never the best.
        worth = np.where(np.isnan(score[start:n]), -np.inf, score[start:n])
        best = start if np.isnan(score[start]) else start + int(np.argmax(worth))
        for column in columns:
            column[[start, best]] = column[[best, start]]
        rest = slice(start + 1, n)
        overlap = _ious(rows[start], areas[start], rows[rest], areas[rest], offset)
        if method == 2:
            score[rest] *= np.exp(-(overlap * overlap) / np.float32(sigma))
        else:
            lowered = 1 - overlap if method == 1 else np.zeros_like(overlap)
            score[rest] *= np.where(overlap >= np.float32(iou_threshold), lowered, 1)
        stays = ~(score[rest] < np.float32(min_score))
        left = start + 1 + int(stays.sum())
        holes = np.flatnonzero(~stays[: left - start - 1]) + start + 1
        movers = np.flatnonzero(stays[left - start - 1 :])[::-1] + left
        for column in columns:
            column[holes] = column[movers]
        n, start = left, start + 1
    dets = np.concatenate([rows[:n], score[:n, None]], 1)
    return torch.from_numpy(dets).to(boxes.dtype), torch.from_numpy(index[:n])


def _ious(
    box: NDArray, area: float, others: NDArray, areas: NDArray, offset: int
) -> NDArray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    side = np.maximum(high - low + np.float32(offset), 0)
    inter = side[:, 0] * side[:, 1]
    with np.errstate(invalid='ignore'):  # boxes without area: not a number, as there
        return np.asarray(inter / (area + areas - inter))


def _keep_polygons(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    labels: Tensor | None,
    overlaps: Callable[..., Tensor],
) -> Tensor:
    boxes = boxes.float() if boxes.dtype == torch.half else boxes
    low, high = (corner.T.contiguous() for corner in bounds(boxes))
    areas = areas_of(boxes)

    def rivals(head: Tensor, rest: Tensor) -> Tensor:
        # What no overlap can make rivals is not compared exactly: bounds that do not
        # meet, and areas whose ratio, which the IoU does not exceed, is too small.
        meet = low[0, head, None] <= high[0, rest]
        meet &= high[0, head, None] >= low[0, rest]
        meet &= low[1, head, None] <= high[1, rest]
        meet &= high[1, head, None] >= low[1, rest]
        least = iou_threshold - _SLACK
        meet &= areas[head, None] >= least * areas[rest]
        meet &= areas[rest] >= least * areas[head, None]
        if labels is not None:
            meet &= labels[head, None] == labels[rest]
        first, second = meet.nonzero(as_tuple=True)
        ious = overlaps(boxes[head[first]], boxes[rest[second]], 'iou', True)
        meet[first, second] = ious >= iou_threshold
        return meet

    return _keep(scores, rivals)


@torch.no_grad()
def _keep(scores: Tensor, rivals: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Greedy suppression.

    Args:
        scores: (n,).
        rivals: given indices (a,) and (b,), whether the first suppress the second when
            they are better, (a, b).

    Returns:
        Indices of the boxes that are kept, by falling score.
    """
    # Sorted as the compiled operators sort: they agree on equal scores.
    left = scores.sort(0, descending=True)[1]
    kept = []
    while len(left):
        size = max(16, min(_HEAD, _COMPARISONS // len(left)))
        head, left = left[:size], left[size:]
        head = head[_undefeated(rivals(head, head).triu(1))]
        kept.append(head)
        if len(left):
            left = left[~rivals(head, left).any(0)]
    return torch.cat(kept) if kept else left


def _undefeated(rivals: Tensor) -> Tensor:
    """(n,) bool: which of n boxes, best first, no kept box suppresses.

    Args:
        rivals: whether a box suppresses a later one, (n, n), above the diagonal.
    """
    # Each round settles at least one more of the best boxes: what they suppress is
    # known. Boxes rarely suppress in long chains, so that a few rounds are enough.
    kept = torch.ones_like(rivals[0])
    while True:
        again = ~(rivals & kept[:, None]).any(0)
        if torch.equal(again, kept):
            return kept
        kept = again
