"""Where to imitate, and how far off the student is there: key positions of a map."""

from __future__ import annotations

import torch
from torch import Tensor

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional.checks import at_least_float, same_shape
from aerialkd.losses.functional.features import squared_distance
from aerialkd.structures.anchor_grid import cell_overlaps

STATISTICS = ('adaptive', 'per_gt', 'nonzero')


@torch.no_grad()
def key_position_mask(ious: Tensor, threshold: str | float = 'adaptive') -> Tensor:
    """ZoomInNet: cells with an anchor that overlaps an object well (eq. 13 to 18).

    A cell is key if the IoU of any of its anchors with any object g exceeds
    ``lambda * max(IoU with g)``.

    Args:
        ious: IoU of the A anchors of each cell with each of G objects, (H, W, A, G).
        threshold: lambda. ``'adaptive'``: mean + standard deviation over the whole
            map (eq. 15; literally, with the many zeros, so that lambda is small and the
            mask wide). ``'per_gt'``: the same for each object by itself.
            ``'nonzero'``: over the IoUs above 0. A number in [0, 1]: that number, 0.5
            in FGFI (Wang et al. 2019). The deviation is that of the population.

    Returns:
        (H, W) bool; nothing is key without objects.

    Raises:
        ShapeError: if there are not four dimensions.
        ConfigError: for another threshold.

    Example:
        >>> ious = torch.tensor([0.1, 0.6, 0.4]).view(1, 3, 1, 1)
        >>> key_position_mask(ious, 0.5).tolist()
        [[False, True, True]]
    """
    check_threshold('key_position_mask', threshold)
    if ious.ndim != 4:
        raise ShapeError(
            f'key_position_mask: got IoUs of shape {tuple(ious.shape)}, expected '
            '(H, W, A, G).'
        )
    if not ious.numel():
        return ious.new_zeros(ious.shape[:2], dtype=torch.bool)
    ious = at_least_float(ious)
    if isinstance(threshold, str):
        values = ious.double()
        over = (0, 1, 2) if threshold == 'per_gt' else (0, 1, 2, 3)
        count = (values > 0) if threshold == 'nonzero' else torch.ones_like(values)
        factor = mean_plus_deviation(
            count.sum(over), values.sum(over), values.square().sum(over)
        ).to(ious)
    else:
        factor = ious.new_tensor(threshold)
    limit = factor * ious.amax((0, 1, 2))  # (G,)
    return (ious > limit).any(-1).any(-1)


@torch.no_grad()
def key_positions(
    boxes: Tensor,
    image: Tensor,
    num_images: int,
    anchors: Tensor,
    stride: tuple[float, float],
    size: tuple[int, int],
    threshold: str | float = 'adaptive',
) -> Tensor:
    """:func:`key_position_mask` of every image of a batch, at one pyramid level.

    The IoUs are those of pairs of object and cell that meet, so that time and memory
    follow their number: see :func:`aerialkd.structures.cell_overlaps`.

    Args:
        boxes: of the whole batch, (Q, 4) as x1, y1, x2, y2 or (Q, 5) as cx, cy, w, h,
            angle, pixels.
        image: index of the image of each box, (Q,).
        num_images: N, the batch size.
        anchors: those of cell (0, 0), (A, 4) as x1, y1, x2, y2, pixels.
        stride: pixels from cell to cell, along x and y.
        size: (H, W) of the map.
        threshold: see :func:`key_position_mask`.

    Returns:
        (N, H, W) bool.
    """
    check_threshold('key_positions', threshold)
    mask = boxes.new_zeros((num_images, *size), dtype=torch.bool)
    if not len(boxes):
        return mask
    one_map = size[0] * size[1] * len(anchors)  # IoUs of one object
    # Of which the statistics are: of all objects of an image, or of each.
    group, counts = image, torch.bincount(image, minlength=num_images) * one_map
    if threshold == 'per_gt':
        group = torch.arange(len(boxes), device=boxes.device)
        counts = torch.full_like(group, one_map)
    sums = boxes.new_zeros((3, len(counts)), dtype=torch.float64)
    most = boxes.new_zeros(len(boxes), dtype=torch.float32)
    pairs = []
    for box, y, x, ious in cell_overlaps(boxes, anchors, stride, size):
        best = ious.amax(1)
        most.scatter_reduce_(0, box, best, 'amax')
        cell = (image[box] * size[0] + y) * size[1] + x
        meet = best > 0
        pairs.append((box[meet], cell[meet], best[meet]))
        if isinstance(threshold, str):
            moments = ((ious > 0).sum(1), ious.sum(1), ious.square_().sum(1))
            for total, of_pair in zip(sums, moments, strict=True):
                total.index_add_(0, group[box], of_pair.double())
    if isinstance(threshold, str):
        count = sums[0] if threshold == 'nonzero' else counts
        factor = mean_plus_deviation(count, sums[1], sums[2])[group].to(most)
    else:
        factor = torch.full_like(most, threshold)
    limit = factor * most
    for box, cell, best in pairs:
        mask.view(-1)[cell[best > limit[box]]] = True
    return mask


def mean_plus_deviation(count: Tensor, total: Tensor, squares: Tensor) -> Tensor:
    """Mean + population deviation from number, sum and sum of squares; 0 of nothing."""
    count = count.clamp(min=1)
    mean = total / count
    return mean + (squares / count - mean.square()).clamp(min=0).sqrt()


def check_threshold(name: str, threshold: str | float) -> None:
    """Refuse what is no lambda of :func:`key_position_mask`.

    Raises:
        ConfigError: if it is none.
    """
    known = (
        threshold in STATISTICS if isinstance(threshold, str) else 0 <= threshold <= 1
    )
    if not known:
        raise ConfigError(
            f'{name}: threshold: got {threshold!r}, expected one of '
            f'{", ".join(map(repr, STATISTICS))} or a number in [0, 1].'
        )


def position_aware_l2(
    s: Tensor, t: Tensor, mask: Tensor, num_key: Tensor | None = None
) -> Tensor:
    """ZoomInNet: squared difference at the key positions (eq. 19 to 21).

    ``L = sum over key cells and channels of (t - s)^2 / number of key cells``, over all
    images together; lambda_distill is left to the caller.

    Args:
        s: student features, (N, C, H, W).
        t: teacher features, same shape; receives no gradient.
        mask: key cells, (N, H, W), bool.
        num_key: number of key cells to divide by, above 0; those of ``mask``, at least
            1, when omitted. Several processes pass their average.

    Returns:
        Scalar; 0 without a key cell, attached to the graph.

    Raises:
        ShapeError: if the shapes do not fit.

    Example:
        >>> s, t = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
        >>> position_aware_l2(s, t, torch.tensor([[[True, False], [True, False]]]))
        tensor(3.)
    """
    same_shape('position_aware_l2', s, t)
    if mask.shape != s.shape[:1] + s.shape[2:]:
        raise ShapeError(
            f'position_aware_l2: got a mask of shape {tuple(mask.shape)} for features '
            f'of shape {tuple(s.shape)}, expected (N, H, W).'
        )
    distance = squared_distance(s, t)
    count = mask.sum().clamp(min=1) if num_key is None else num_key
    return (distance * mask).sum() / count
