"""Training targets of points: labels, boxes and weights of a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from aerialkd.detectors.yolov8.assigner import points_inside


@dataclass(frozen=True)
class Objects:
    """Boxes of all images, one after the other.

    Attributes:
        boxes: (M, 4) xyxy in pixels.
        labels: (M,).
        images: image of each box, (M,).
    """

    boxes: Tensor
    labels: Tensor
    images: Tensor

    @classmethod
    def of(cls, instances: Sequence[InstanceData | None] | None) -> Objects | None:
        """Join the instances of each image; None where no image has any to join."""
        images = {i: each for i, each in enumerate(instances or ()) if each is not None}
        if not images:
            return None
        boxes = torch.cat([get_box_tensor(each.bboxes) for each in images.values()])
        counts = torch.tensor([len(each) for each in images.values()])
        index = torch.tensor(list(images)).repeat_interleave(counts)
        labels = torch.cat([each.labels for each in images.values()])
        return cls(boxes, labels, index.to(boxes.device))


class PointTargets(NamedTuple):
    """Targets of L points in N images; see ``YOLOv8Head.get_targets``."""

    labels: Tensor  # (N, L)
    label_weights: Tensor  # (N, L)
    bbox_targets: Tensor  # (N, L, 4)
    bbox_weights: Tensor  # (N, L, 4)


@torch.no_grad()
def point_targets(
    assigner: Any,
    points: Tensor,
    scores: Tensor,
    boxes: Tensor,
    objects: Objects | None,
    ignored: Objects | None = None,
) -> PointTargets:
    """Targets of every point.

    Args:
        assigner: :class:`PointTaskAlignedAssigner`.
        points: (L, 2) in pixels.
        scores: predicted probabilities, (N, L, K).
        boxes: predicted boxes, (N, L, 4) xyxy in pixels.
        objects: what is to be found.
        ignored: regions in which background is not punished.
    """
    num_classes = scores.shape[2]
    labels = scores.new_full(scores.shape[:2], num_classes, dtype=torch.long)
    label_weights = torch.ones_like(scores[..., 0])
    bbox_targets = torch.zeros_like(boxes)
    target_scores = torch.zeros_like(scores[..., 0])
    if objects is not None and len(objects.boxes):
        assigned = assigner.assign(
            scores, boxes, points, objects.boxes, objects.labels, objects.images
        )
        positive = assigned.objects >= 0
        chosen = assigned.objects[positive]
        labels[positive] = objects.labels[chosen]
        bbox_targets[positive] = objects.boxes[chosen].to(boxes.dtype)
        target_scores = assigned.scores.to(scores.dtype)
    if ignored is not None and len(ignored.boxes):
        region, point = points_inside(points, ignored.boxes)
        label_weights[ignored.images[region], point] = 0
        label_weights[labels < num_classes] = 1
    bbox_weights = target_scores[..., None].expand(-1, -1, 4)
    return PointTargets(labels, label_weights, bbox_targets, bbox_weights)
