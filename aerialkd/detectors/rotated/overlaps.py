"""IoU of rotated boxes, computed only for pairs that can overlap."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from mmcv.ops import box_iou_rotated
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from aerialkd.errors import BoxTypeError, ConfigError, ShapeError
from aerialkd.ops.areas import bounds
from aerialkd.ops.pairs import meeting_pairs
from aerialkd.registry import TASK_UTILS

# mmcv's compiled kernel lets sides meet that miss each other by 1e-5 of their length.
_RELATIVE_SLACK, _SLACK = 1e-4, 1e-2


class CandidatePairs(NamedTuple):
    """Pairs of boxes that may overlap; all others do not.

    Attributes:
        first: index of the first box of each pair, (P,), rising.
        second: index of the second box, (P,), rising within a first box.
        bound: an IoU that the pair's does not exceed, (P,).
    """

    first: Tensor
    second: Tensor
    bound: Tensor


class OverlappingPairs(NamedTuple):
    """Pairs of boxes that may overlap, and their overlap; all others have none.

    Attributes:
        first: index of the first box of each pair, (P,), rising.
        second: index of the second box, (P,), rising within a first box.
        overlaps: IoU, or intersection over the first box, (P,).
    """

    first: Tensor
    second: Tensor
    overlaps: Tensor


@TASK_UTILS.register_module()
class RBboxOverlaps2D:
    """As ``mmrotate.RBboxOverlaps2D``, from the pairs that can overlap.

    With compiled operators it is about 20 times faster on a CPU; those in plain torch
    do the same on their own.

    The values are mmrotate's to the last bit. The exact overlap is computed for those
    pairs alone whose circumscribed horizontal boxes overlap: between the priors of a
    512-pixel tile and 60 objects that is one pair in 23. Besides the matrix that the
    interface promises, memory follows the number of those pairs;
    :class:`aerialkd.detectors.MaxIoUAssigner` does without the matrix.

    Example:
        >>> boxes = torch.tensor([[8., 8., 8., 4., 0.], [90., 8., 8., 4., 0.]])
        >>> RBboxOverlaps2D()(boxes, boxes).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    # What to name in a config that has to do without this package.
    equivalent = 'mmrotate.RBboxOverlaps2D'

    def __call__(
        self, bboxes1: Any, bboxes2: Any, mode: str = 'iou', is_aligned: bool = False
    ) -> Tensor:
        """Overlaps of two sets of rotated boxes.

        Args:
            bboxes1: (m, 5) as cx, cy, w, h, angle, pixels and radians; a sixth column,
                the score, is ignored. Tensor or box structure.
            bboxes2: (n, 5) likewise.
            mode: ``'iou'``, or ``'iof'``: intersection over the area of ``bboxes1``.
            is_aligned: compare the boxes one by one; then m must be n.

        Returns:
            (m, n), or (m,) if aligned.

        Raises:
            BoxTypeError: if the boxes have no angle.
            ConfigError: for another mode.
            ShapeError: if aligned boxes differ in number.
        """
        boxes1, boxes2 = _checked(bboxes1, mode), _checked(bboxes2, mode)
        if is_aligned:
            if len(boxes1) != len(boxes2):
                raise ShapeError(
                    f'RBboxOverlaps2D: got {len(boxes1)} and {len(boxes2)} boxes, '
                    'expected equal numbers with is_aligned=True.'
                )
            return _exact(boxes1, boxes2, mode)
        matrix = boxes1.new_zeros(len(boxes1), len(boxes2))
        pairs = overlapping_pairs(boxes1, boxes2, mode)
        matrix[pairs.first, pairs.second] = pairs.overlaps
        return matrix

    def pairs(self, bboxes1: Any, bboxes2: Any, mode: str = 'iou') -> OverlappingPairs:
        """The same without the matrix; see :func:`overlapping_pairs`."""
        return overlapping_pairs(bboxes1, bboxes2, mode)

    def candidates(self, bboxes1: Any, bboxes2: Any) -> CandidatePairs:
        """Pairs that may overlap, before anything exact; see :class:`CandidatePairs`.

        For who needs the overlaps above a threshold only: computes those afterwards
        with ``is_aligned=True``.
        """
        boxes1, boxes2 = _checked(bboxes1, 'iou'), _checked(bboxes2, 'iou')
        first, second = _candidates(boxes1, boxes2)
        return CandidatePairs(first, second, _bound(boxes1, boxes2, first, second))

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@torch.no_grad()
def overlapping_pairs(
    bboxes1: Any, bboxes2: Any, mode: str = 'iou'
) -> OverlappingPairs:
    """Overlap of those pairs of rotated boxes that can have one.

    Args:
        bboxes1: (m, 5) as cx, cy, w, h, angle, pixels and radians.
        bboxes2: (n, 5) likewise.
        mode: ``'iou'``, or ``'iof'``: intersection over the area of ``bboxes1``.

    Returns:
        Pairs whose circumscribed horizontal boxes overlap or touch.

    Raises:
        BoxTypeError: if the boxes have no angle.
        ConfigError: for another mode.

    Example:
        >>> boxes = torch.tensor([[8., 8., 8., 4., 0.], [90., 8., 8., 4., 0.]])
        >>> overlapping_pairs(boxes, boxes).first.tolist()
        [0, 1]
    """
    boxes1, boxes2 = _checked(bboxes1, mode), _checked(bboxes2, mode)
    first, second = _candidates(boxes1, boxes2)
    return OverlappingPairs(first, second, _exact(boxes1[first], boxes2[second], mode))


def _candidates(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs whose circumscribed boxes meet, (P,) each."""
    return meeting_pairs(*_circumscribed(boxes1), *_circumscribed(boxes2))


def _bound(boxes1: Tensor, boxes2: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """An IoU that pairs of boxes do not exceed, (P,)."""
    low1, high1 = _circumscribed(boxes1)
    low2, high2 = _circumscribed(boxes2)
    area1, area2 = boxes1[:, 2:4].prod(1)[first], boxes2[:, 2:4].prod(1)[second]
    most = torch.minimum(area1, area2)
    sides = [
        torch.minimum(high1[first, axis], high2[second, axis])
        - torch.maximum(low1[first, axis], low2[second, axis])
        for axis in (0, 1)
    ]
    most = torch.minimum(most, sides[0] * sides[1])
    # Above by what the kernel may round.
    return most / (area1 + area2 - most) * (1 + _RELATIVE_SLACK) + _RELATIVE_SLACK


def _circumscribed(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper corners of the horizontal boxes around them, (n, 2) each."""
    low, high = bounds(boxes)
    slack = _RELATIVE_SLACK * boxes[:, 2:4].sum(1, keepdim=True) + _SLACK
    return low - slack, high + slack


def _exact(boxes1: Tensor, boxes2: Tensor, mode: str) -> Tensor:
    if not len(boxes1):
        return boxes1.new_zeros(0)
    return box_iou_rotated(boxes1, boxes2, mode, True)


def _checked(bboxes: Any, mode: str) -> Tensor:
    """Boxes within the limits that mmrotate sets for mmcv's kernel, (n, 5)."""
    if mode not in ('iou', 'iof'):
        raise ConfigError(f"overlaps: got mode {mode!r}, expected 'iou' or 'iof'.")
    boxes = get_box_tensor(bboxes).detach()
    if not len(boxes):
        return boxes.new_zeros(0, 5)
    if boxes.shape[-1] not in (5, 6):
        raise BoxTypeError(
            f'overlaps of rotated boxes: got {boxes.shape[-1]} columns, expected 5 '
            '(cx, cy, w, h, angle); for horizontal boxes use mmdet.BboxOverlaps2D.'
        )
    centres = boxes[:, :2].clamp(min=-1e7, max=1e7)
    return torch.cat([centres, boxes[:, 2:4].clamp(min=1e-3), boxes[:, 4:5]], 1)
