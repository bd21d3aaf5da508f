"""Distances of boxes, decoded and encoded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aerialkd.errors import ShapeError
from aerialkd.losses.functional.checks import (
    above_zero,
    at_least_float,
    same_shape,
)


def soft_smooth_l1(s: Tensor, t: Tensor, tau: float | None = 10.0) -> Tensor:
    """Smooth L1 distance of encoded boxes, softened (KD-RNet eq. 3).

    ``tau**2 * smooth_l1((t - s) / tau)`` with smooth_l1(x) = x**2 / 2 up to 1 and
    |x| - 1/2 beyond: quadratic for differences up to tau, linear from there on with
    slope tau. Eq. 3 is printed without the temperature that III-A sets to 10:
    ``tau=None``, the same as 1.

    Args:
        s: the student's outputs, such as encoded deltas, (n, D), or of any other shape.
        t: the teacher's, same shape; receives no gradient.
        tau: temperature, above 0.

    Returns:
        As ``s``, at least 0; 0 where both agree.

    Raises:
        ShapeError: if the shapes differ.
        ConfigError: if tau is not above 0.

    Example:
        >>> s, t = torch.zeros(1, 2), torch.tensor([[2.0, 30.0]])
        >>> soft_smooth_l1(s, t, 10.0).tolist()  # 2**2 / 2, 10**2 * (30 / 10 - 1 / 2)
        [[2.0, 250.0]]
    """
    same_shape('soft_smooth_l1', s, t)
    tau = 1.0 if tau is None else tau
    above_zero('tau', tau)
    s, t = at_least_float(s), at_least_float(t.detach())
    # torch's smooth_l1 with beta is beta * smooth_l1(x / beta).
    return tau * F.smooth_l1_loss(s, t, reduction='none', beta=tau)


def efficient_iou_loss(boxes_s: Tensor, boxes_t: Tensor) -> Tensor:
    """1 - EIoU of pairs of boxes (Zhang et al. 2021, "Focal and Efficient IOU Loss").

    ``1 - IoU + d^2 / (wc^2 + hc^2) + (w - w')^2 / wc^2 + (h - h')^2 / hc^2`` with d the
    distance of the centres and wc, hc the sides of the box around both. RDR-KD's
    eq. 10 calls it PEIoU. The class ``EIoULoss`` of mmdet is another loss.

    Args:
        boxes_s: student boxes, (n, 4) as x1, y1, x2, y2.
        boxes_t: teacher boxes, same shape; receives no gradient.

    Returns:
        (n,), in [0, 4): 0 for identical boxes, above 1 for boxes that do not meet.
        Boxes without area have IoU 0, or 1 when identical.

    Raises:
        ShapeError: if the shapes differ or are not (n, 4).

    Example:
        >>> one, other = torch.tensor([[[0., 0., 2., 2.]], [[0., 0., 2., 1.]]])
        >>> efficient_iou_loss(one, other).item()  # 1/2 + (1/4)/8 + 1/4
        0.78125
    """
    same_shape('efficient_iou_loss', boxes_s, boxes_t)
    if boxes_s.ndim != 2 or boxes_s.shape[-1] != 4:
        raise ShapeError(
            f'efficient_iou_loss: got {tuple(boxes_s.shape)}, expected (n, 4) xyxy; '
            'rotated boxes need a rotated loss (mmrotate.GDLoss).'
        )
    s, t = at_least_float(boxes_s), at_least_float(boxes_t.detach())
    low_s, high_s, low_t, high_t = s[:, :2], s[:, 2:], t[:, :2], t[:, 2:]
    size_s, size_t = high_s - low_s, high_t - low_t
    shared = torch.minimum(high_s, high_t) - torch.maximum(low_s, low_t)
    overlap = shared.clamp(min=0).prod(-1)
    union = size_s.prod(-1) + size_t.prod(-1) - overlap
    same = (s == t).all(-1).to(s.dtype)
    iou = torch.where(union > 0, _ratio(overlap, union), same)

    around = torch.maximum(high_s, high_t) - torch.minimum(low_s, low_t)  # (n, 2)
    around = around.square()
    centres = ((low_s + high_s - low_t - high_t) / 2).square().sum(-1)
    sides = _ratio((size_s - size_t).square(), around).sum(-1)
    return 1 - iou + _ratio(centres, around.sum(-1)) + sides


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient; 0 with gradient 0 where the denominator, and hence both, is 0."""
    return numerator / denominator.where(denominator > 0, torch.ones_like(denominator))
