"""What the student's own target assignment decided, in one form for all heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from aerialkd.errors import RecordError
from aerialkd.structures.normaliser import averaged_count


@dataclass(frozen=True)
class AssignedTargets:
    """Targets of every prior of a batch; L counts the priors of all levels.

    Attributes:
        labels: class of each prior, (N, L); ``num_classes`` is background.
        label_weights: (N, L); 0 where the prior takes no part in the loss.
        bbox_targets: (N, L, D), encoded as the head encodes them.
        bbox_weights: (N, L, D).
        priors: in pixels, anchors (N, L, 4) xyxy or (N, L, 5) cx, cy, w, h, angle, or
            points (N, L, 2) x, y.
        num_level_priors: priors of each level; their sum is L.
        avg_factor: the task loss's normaliser, averaged over processes, see
            :func:`averaged_count`.
        num_classes: number of foreground classes.
    """

    labels: Tensor
    label_weights: Tensor
    bbox_targets: Tensor
    bbox_weights: Tensor
    priors: Tensor
    num_level_priors: tuple[int, ...]
    avg_factor: Tensor
    num_classes: int

    @property
    def positive(self) -> Tensor:
        """Priors that were assigned to an object, (N, L) bool."""
        return (self.labels >= 0) & (self.labels < self.num_classes)

    @classmethod
    def from_get_targets(
        cls, head: Any, anchors: list[list[Any]], result: tuple[Any, ...]
    ) -> AssignedTargets:
        """Normalise what a dense head's ``get_targets`` was given and returned.

        Args:
            head: the dense head (RetinaNet, GFL, ATSS and their rotated kin, YOLOv8,
                FCOS).
            anchors: first argument of ``get_targets``, for each image the priors
                of each level; FCOS: the points of each level.
            result: what ``get_targets`` returned; GFL and ATSS put the anchors
                in front of AnchorHead's five items, FCOS returns labels and targets.

        Raises:
            RecordError: if the head's targets have another form.
        """
        fields = list(result)
        if _of_points(fields):
            return cls._from_points(head, anchors, *fields)
        if len(fields) > 5 and isinstance(fields[4], (list, tuple)):
            fields = fields[1:]  # ATSS and GFL: (anchors, labels, ...)
        if len(fields) < 5 or not isinstance(fields[0], (list, tuple)):
            raise RecordError(
                f'{type(head).__name__}.get_targets returned {len(result)} items in a '
                'form that is not known; heads derived from mmdet.AnchorHead and '
                "mmdet.FCOSHead's are supported. A loss for another head must read its "
                'targets itself.'
            )
        labels, label_weights, targets, weights = (
            torch.cat(list(field), 1) for field in fields[:4]
        )
        factor = labels.new_tensor(float(fields[4]), dtype=torch.float32)
        return cls(
            labels=labels,
            label_weights=label_weights,
            bbox_targets=targets,
            bbox_weights=weights,
            priors=torch.stack([_joined(levels) for levels in anchors]),
            num_level_priors=tuple(field.shape[1] for field in fields[0]),
            avg_factor=averaged_count(factor),
            num_classes=head.num_classes,
        )

    @classmethod
    def _from_points(
        cls, head: Any, points: list[Any], labels: list[Any], targets: list[Any]
    ) -> AssignedTargets:
        """FCOS: in each level, the points (n_l, 2) of all images behind each other.

        It weighs no labels, and its class loss is divided by the number of positives.
        """
        counts = tuple(len(level) for level in points)
        every, encoded = (
            torch.cat(
                [x.unflatten(0, (-1, n)) for x, n in zip(field, counts, strict=True)], 1
            )
            for field in (labels, targets)
        )  # (N, L), (N, L, 4)
        positive = (every >= 0) & (every < head.num_classes)
        return cls(
            labels=every,
            label_weights=torch.ones_like(every, dtype=torch.float32),
            bbox_targets=encoded,
            bbox_weights=positive[..., None].to(encoded).expand_as(encoded),
            priors=torch.cat(points).expand(len(every), -1, -1),
            num_level_priors=counts,
            avg_factor=averaged_count(positive.sum()),
            num_classes=head.num_classes,
        )


def _of_points(fields: list[Any]) -> bool:
    """Whether these are the targets of FCOS: labels (N * n_l,) of each level first."""
    if len(fields) != 2 or not isinstance(fields[0], (list, tuple)):
        return False
    return all(x.ndim == 1 and not x.is_floating_point() for x in fields[0])


def _joined(levels: Any) -> Tensor:
    """Priors of one image, (L, D); some heads join the levels before we see them."""
    if not isinstance(levels, (list, tuple)):
        levels = [levels]
    return torch.cat([get_box_tensor(level) for level in levels])
