"""Complete IoU of horizontal boxes and the loss made of it."""

from __future__ import annotations

import math

import torch
from mmdet.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn

from aerialkd.arguments import NotNegative
from aerialkd.registry import MODELS


def complete_iou(boxes: Tensor, targets: Tensor, eps: float = 1e-7) -> Tensor:
    r"""CIoU = IoU - \rho^2 / c^2 - \alpha v (Zheng et al. 2020, eq. 8-11).

    Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression:
    :math:`\rho` is the distance of the centres, c the diagonal of the enclosing box,
    :math:`v = 4 / \pi^2 (\arctan(w'/h') - \arctan(w/h))^2` and
    :math:`\alpha = v / (1 - IoU + v)`, which receives no gradient.

    mmdet's ``ciou_loss`` is not used: it is NaN for equal boxes (0 / 0), and it sets
    :math:`\alpha` to 0 below an IoU of 0.5, as a later paper of the authors does.

    Args:
        boxes: (n, 4) xyxy.
        targets: (n, 4) xyxy.
        eps: keeps divisions finite.

    Returns:
        (n,), in (-2, 1].

    Example:
        >>> complete_iou(torch.tensor([[0., 0, 2, 4]]), torch.tensor([[0., 0, 2, 4]]))
        tensor([1.])
    """
    size, target_size = (b[:, 2:] - b[:, :2] for b in (boxes, targets))
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    overlap = (high - low).clamp(min=0).prod(1)
    union = size.prod(1) + target_size.prod(1) - overlap
    iou = overlap / (union + eps)

    enclosing = torch.maximum(boxes[:, 2:], targets[:, 2:]) - torch.minimum(
        boxes[:, :2], targets[:, :2]
    )
    centres = (boxes[:, :2] + boxes[:, 2:] - targets[:, :2] - targets[:, 2:]) / 2
    distance = centres.square().sum(1) / (enclosing.square().sum(1) + eps)

    angles = [torch.atan2(wh[:, 0], wh[:, 1] + eps) for wh in (target_size, size)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    alpha = (v / (1 - iou + v + eps)).detach()
    return iou - distance - alpha * v


@MODELS.register_module()
class CompleteIoULoss(nn.Module):
    """1 - CIoU of pairs of boxes; see :func:`complete_iou`.

    Args:
        loss_weight: factor of the loss.
    """

    def __init__(self, loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Weighted mean over the pairs.

        Args:
            pred: (n, 4) xyxy.
            target: (n, 4) xyxy.
            weight: (n,).
            avg_factor: divisor of the weighted sum; by default n.
        """
        loss = 1 - complete_iou(pred, target)
        return self.loss_weight * weight_reduce_loss(
            loss, weight, 'mean', avg_factor=avg_factor
        )
