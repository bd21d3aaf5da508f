"""Priors beside an object's positives that still know about its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aerialkd.structures.anchor_grid import cell_overlaps, pair_overlaps
from aerialkd.structures.box_cells import half_extents

# Objects whose candidates are looked at together: about 10 MB.
_BLOCK = 2**13


class PriorGrid(NamedTuple):
    """The priors of one pyramid level.

    Attributes:
        anchors: those of cell (0, 0), (A, 4) as x1, y1, x2, y2, pixels, of one centre.
        stride: pixels from cell to cell, along x and y.
        size: (H, W) of the map.
    """

    anchors: Tensor
    stride: tuple[float, float]
    size: tuple[int, int]

    @property
    def num_priors(self) -> int:
        """H * W * A."""
        return self.size[0] * self.size[1] * len(self.anchors)


@torch.no_grad()
def valuable_region(
    boxes: Tensor,
    image: Tensor,
    num_images: int,
    grids: Sequence[PriorGrid],
    gamma: float = 0.25,
    topk: int = 9,
) -> Tensor:
    """LD: priors in some object's valuable localisation region, with their IoU.

    ``gamma * thr <= DIoU < thr`` (Zheng et al., CVPR 2022, algorithm 1), where thr is
    the threshold that ATSS gives the object, see :func:`atss_thresholds`. DIoU is the
    IoU less the squared distance of the centres over the squared diagonal of the
    smallest horizontal box around both; for rotated objects IoU is exact and that box
    surrounds the object's corners.

    A prior may lie in the regions of several objects; the largest IoU with one of them
    is its value, as in the official code. Its positives are not taken out here. No
    matrix of priors and objects is made: see :func:`cell_overlaps`.

    Args:
        boxes: of the whole batch, (Q, 4) as x1, y1, x2, y2 or (Q, 5) as cx, cy, w, h,
            angle, pixels.
        image: index of the image of each box, (Q,).
        num_images: N, the batch size.
        grids: the priors of each level.
        gamma: where the region begins, as a fraction of thr.
        topk: candidates of each level, for the threshold.

    Returns:
        (N, L), in the order of levels, rows, columns, anchors; 0 outside of all
        regions.

    Example:
        >>> grid = PriorGrid(torch.tensor([[-8., -8., 8., 8.]]), (8, 8), (1, 4))
        >>> box = torch.tensor([[0., -8., 16., 8.]])
        >>> valuable_region(box, torch.tensor([0]), 1, [grid]).tolist()[0]
        [0.3333333432674408, 0.0, 0.3333333432674408, 0.0]
    """
    boxes = boxes.detach().float()
    region = boxes.new_zeros(num_images, sum(grid.num_priors for grid in grids))
    if not len(boxes):
        return region
    thresholds = atss_thresholds(boxes, grids, topk)
    start = 0
    for grid in grids:
        values, flat = _of_level(boxes, image, thresholds, grid, gamma)
        index = flat % grid.num_priors + start
        place = torch.div(flat, grid.num_priors, rounding_mode='floor')
        region.view(-1).scatter_reduce_(
            0, place * region.shape[1] + index, values, 'amax'
        )
        start += grid.num_priors
    return region


@torch.no_grad()
def atss_thresholds(boxes: Tensor, grids: Sequence[PriorGrid], topk: int = 9) -> Tensor:
    """IoU above which ATSS makes a prior positive (Zhang et al., CVPR 2020), (Q,).

    Mean plus (unbiased) standard deviation of the IoUs with the ``topk`` priors of each
    level whose centres are nearest to the object's, or all where a level has fewer; of
    equally near ones the first.

    Args:
        boxes: (Q, 4) as x1, y1, x2, y2 or (Q, 5) as cx, cy, w, h, angle, pixels.
        grids: the priors of each level.
        topk: candidates of each level.
    """
    boxes = boxes.detach().float()
    blocks = [
        torch.cat([_candidate_ious(part, grid, topk) for grid in grids], 1)
        for part in boxes.split(_BLOCK)
    ]
    ious = torch.cat(blocks)  # (Q, candidates)
    mean = ious.mean(1)
    squares = (ious - mean[:, None]).square().sum(1)
    return mean + (squares / max(ious.shape[1] - 1, 1)).sqrt()


def _candidate_ious(boxes: Tensor, grid: PriorGrid, topk: int) -> Tensor:
    """IoUs with the nearest priors of one level, (Q, at most topk)."""
    anchors = grid.anchors.to(boxes)
    # The priors of a cell are equally near: whole cells, and a part of the last.
    y, x = _nearest_cells(half_extents(boxes)[0], grid, -(-topk // len(anchors)))
    box = torch.arange(len(boxes), device=boxes.device)[:, None].expand_as(y)
    ious = pair_overlaps(
        boxes, anchors, grid.stride, box.flatten(), y.flatten(), x.flatten()
    )
    return ious.view(len(boxes), -1)[:, :topk]


def _nearest_cells(
    centres: Tensor, grid: PriorGrid, count: int
) -> tuple[Tensor, Tensor]:
    """Rows and columns of the cells nearest to points, (Q, count) each.

    The i-th nearest row and the j-th nearest column meet in a cell that i * j cells are
    at least as near as: only those with i * j <= count can be among the nearest.
    """
    height, width = grid.size
    count = min(count, height * width)
    anchor = grid.anchors[0].to(centres).double()
    rows, apart_y = _nearest(centres[:, 1], anchor[1::2].mean(), grid.stride[1], height)
    columns, apart_x = _nearest(
        centres[:, 0], anchor[0::2].mean(), grid.stride[0], width
    )
    rank = torch.arange(1, count + 1, device=centres.device)
    near = rank[:, None] * rank <= count
    near[height:], near[:, width:] = False, False
    i, j = near.nonzero(as_tuple=True)
    cell = rows[:, i] * width + columns[:, j]  # (Q, candidates)
    apart = apart_y[:, i] + apart_x[:, j]
    order = cell.argsort(1)  # of equally near cells the first
    order = order.gather(1, apart.gather(1, order).argsort(dim=1, stable=True))
    cell = cell.gather(1, order[:, :count])
    return torch.div(cell, width, rounding_mode='floor'), cell % width


def _nearest(
    points: Tensor, first: Tensor, stride: float, number: int
) -> tuple[Tensor, Tensor]:
    """Lines of a grid by their distance from points, and its square, (Q, number)."""
    lines = first + stride * torch.arange(number, device=points.device)
    apart = (points.double()[:, None] - lines).square()
    order = apart.argsort(dim=1, stable=True)
    return order, apart.gather(1, order)


def _of_level(
    boxes: Tensor, image: Tensor, thresholds: Tensor, grid: PriorGrid, gamma: float
) -> tuple[Tensor, Tensor]:
    """IoUs in the region of one level, and which prior of which image each is of."""
    anchors = grid.anchors.to(boxes)
    low, high = gamma * thresholds, thresholds
    chosen = (_size_ratios(boxes, anchors) >= low[:, None]).any(1).nonzero()[:, 0]
    centre, half = half_extents(boxes)
    step = boxes.new_tensor(grid.stride)
    found: list[tuple[Tensor, Tensor]] = [(boxes.new_zeros(0), image[:0])]
    overlaps = cell_overlaps(
        boxes[chosen], anchors, grid.stride, grid.size, low[chosen]
    )
    for pairs in overlaps:
        near = (pairs.ious > 0) & (pairs.ious >= low[chosen[pairs.box], None])
        pair, anchor = near.nonzero(as_tuple=True)
        box, x, y = chosen[pairs.box[pair]], pairs.x[pair], pairs.y[pair]
        shift = (torch.stack([x, y], -1) * step).repeat(1, 2)
        prior = anchors[anchor] + shift
        ious = pairs.ious[pair, anchor]
        diou = ious - _relative_distance(centre[box], half[box], prior)
        inside = (diou >= low[box]) & (diou < high[box])
        cell = (image[box] * grid.size[0] + y) * grid.size[1] + x
        found.append((ious[inside], (cell * len(anchors) + anchor)[inside]))
    values, index = (torch.cat(column) for column in zip(*found, strict=True))
    return values, index


def _size_ratios(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Smaller over larger area, which no IoU exceeds but for rounding, (Q, A)."""
    rotated = boxes.shape[-1] == 5
    size = boxes[:, 2:4] if rotated else boxes[:, 2:] - boxes[:, :2]
    areas = size.clamp(min=1e-3 if rotated else 0).prod(-1)[:, None]
    others = (anchors[:, 2:] - anchors[:, :2]).prod(-1)
    smaller, larger = torch.minimum(areas, others), torch.maximum(areas, others)
    return smaller / larger.clamp(min=1e-6) * 1.001 + 1e-3


def _relative_distance(centre: Tensor, half: Tensor, prior: Tensor) -> Tensor:
    """Squared distance of centres over the squared diagonal around both, (P,)."""
    apart = centre - (prior[:, :2] + prior[:, 2:]) / 2
    around = torch.maximum(centre + half, prior[:, 2:]) - torch.minimum(
        centre - half, prior[:, :2]
    )
    return apart.square().sum(1) / around.square().sum(1).clamp(min=1e-6)
