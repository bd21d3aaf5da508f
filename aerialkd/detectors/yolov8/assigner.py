"""Task-aligned assignment of points to objects, for a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aerialkd.arguments import Count, NotNegative
from aerialkd.detectors.yolov8.complete_iou import complete_iou
from aerialkd.registry import TASK_UTILS


@dataclass(frozen=True)
class PointAssignment:
    """Which object each point answers for, and how well.

    Attributes:
        objects: (N, L), index into the batch's objects; -1 is background.
        scores: (N, L), soft target of the object's class, 0 for background.
    """

    objects: Tensor
    scores: Tensor


@TASK_UTILS.register_module()
class PointTaskAlignedAssigner:
    """TOOD's assignment (Feng et al. 2021) in the form that YOLOv8 uses.

    The alignment of a prediction with an object is ``s ** alpha * u ** beta`` with the
    score s of the object's class and u = max(CIoU, 0). Of the points strictly inside
    the object, the ``topk`` best aligned become positive; a point that several objects
    choose goes to the one of the highest u. Its target is its alignment, scaled so
    that an object's best point has the object's highest u.

    mmdet's ``TaskAlignedAssigner`` takes the ``topk`` first and then drops those
    outside the object, has no CIoU, and loops over objects. Here only the pairs of a
    point and an object around it are looked at: there are few of them in aerial
    images, so that 500 objects an image need no matrix of floats.

    An object that no point lies in (below one stride of the finest level), or whose
    points all have u = 0, has no positive.

    Args:
        topk: positives an object at most.
        alpha: exponent of the score.
        beta: exponent of the CIoU.
    """

    def __init__(
        self, topk: Count = 10, alpha: NotNegative = 0.5, beta: NotNegative = 6.0
    ) -> None:
        self.topk = topk
        self.alpha = alpha
        self.beta = beta

    @torch.no_grad()
    def assign(
        self,
        scores: Tensor,
        boxes: Tensor,
        points: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        gt_images: Tensor,
    ) -> PointAssignment:
        """Assign the objects of a batch.

        Args:
            scores: predicted probabilities, (N, L, K).
            boxes: predicted boxes, (N, L, 4) xyxy in pixels.
            points: centres of the cells, (L, 2) in pixels.
            gt_boxes: objects of all images, (M, 4) xyxy in pixels.
            gt_labels: their classes, (M,).
            gt_images: the image of each, (M,).
        """
        num_images, num_points = scores.shape[:2]
        gt, point = points_inside(points, gt_boxes)  # (P,) pairs
        cell = gt_images[gt] * num_points + point
        score = scores.flatten(0, 1)[cell, gt_labels[gt]].float()
        iou = complete_iou(boxes.flatten(0, 1)[cell].float(), gt_boxes[gt].float())
        iou = iou.clamp(min=0)
        aligned = score**self.alpha * iou**self.beta

        chosen = (aligned > 0) & (_rank(aligned, gt) < self.topk)
        gt, cell, iou, aligned = (x[chosen] for x in (gt, cell, iou, aligned))
        won = _rank(iou, cell) == 0
        gt, cell, iou, aligned = (x[won] for x in (gt, cell, iou, aligned))

        best_aligned, best_iou = (
            x.new_zeros(len(gt_boxes)).scatter_reduce_(0, gt, x, 'amax')
            for x in (aligned, iou)
        )
        objects = gt.new_full((num_images * num_points,), -1)
        objects[cell] = gt
        targets = iou.new_zeros(num_images * num_points)
        targets[cell] = aligned / best_aligned[gt] * best_iou[gt]
        shape = num_images, num_points
        return PointAssignment(objects.view(shape), targets.view(shape))


def points_inside(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of a box and a point strictly inside it.

    Args:
        points: (L, 2).
        boxes: (M, 4) xyxy.

    Returns:
        Index of the box and index of the point, (P,) each, ordered by box, then point.
    """
    x, y = points.unbind(1)
    # Booleans (M, L), combined in place: the only dense intermediate.
    inside = x > boxes[:, 0, None]
    inside &= x < boxes[:, 2, None]
    inside &= y > boxes[:, 1, None]
    inside &= y < boxes[:, 3, None]
    box, point = inside.nonzero(as_tuple=True)
    return box, point


def _rank(values: Tensor, groups: Tensor) -> Tensor:
    """Place of each value in its group, 0 for the largest; ties keep their order."""
    order = values.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]
    ordered = groups[order]
    first = torch.searchsorted(ordered, ordered)  # where each group starts
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - first
    return rank
