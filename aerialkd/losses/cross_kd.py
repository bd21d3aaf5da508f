"""CrossKD: Cross-Head Knowledge Distillation for Object Detection.

Wang et al., CVPR 2024.

| paper | here |
|---|---|
| f_i^s, f_i^t | ``preds_S.cls``, ``preds_S.reg``, likewise of ``preds_T`` |
| p^t | ``preds_T.outputs`` |
| p-hat^s, cross-head predictions | ``CrossKDLoss.cross_predictions`` |
| D_pred | ``soft_focal_bce``; GIoU or the divergence of distributions |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from mmdet.models.losses.iou_loss import giou_loss
from mmengine.registry import MODELS as ALL_MODELS
from torch import Tensor

from aerialkd.arguments import Exponent, NotNegative
from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.base import (
    DistillLoss,
    Maps,
    distance_of_rotated,
    level_pairs,
    map_size,
)
from aerialkd.losses.functional import match_statistics, soft_class_kl, soft_focal_bce
from aerialkd.losses.functional.checks import at_least_float
from aerialkd.registry import MODELS
from aerialkd.structures import (
    BatchContext,
    TowerRecord,
    averaged_count,
    flatten_levels,
    head_towers,
    sums_of_cells,
)


class CrossTerms(NamedTuple):
    """Both terms of every prior, (N, L) each, and the weights that are in ``boxes``."""

    classes: Tensor
    boxes: Tensor
    weights: Tensor


@MODELS.register_module()
class CrossKDLoss(DistillLoss):
    """The teacher's head, fed with the student's features, imitates the teacher.

    In both towers of the student's head the output of a stacked convolution, before its
    activation, is brought to the channel mean and deviation of the teacher's
    (:func:`match_statistics`) and goes through what follows *in the teacher's head*.
    These cross-head predictions imitate the teacher's own::

        L = loss_weight * (cls_weight * L_cls + reg_weight * L_reg)
        L_cls = sum of label weight * soft_focal_bce(cross, t, gamma) / positives
        L_reg = sum of w * distance(box of cross, box of t) / sum of w
        w = max over classes of sigmoid(t), 0 where the label weight is 0

    The gradient goes through the teacher's layers, which stay as they are, to the
    student's convolutions up to that one, its neck and backbone. What follows in the
    student's head learns from the ground truth alone. Centerness is not imitated.

    Positives are the normaliser of the student's task loss, averaged over processes; so
    is the sum of the weights, at least 1: with it L_reg is a mean, which the thousands
    of background priors with a small w do not multiply. As in PKD, channels are
    standardised over the images of a process. Priors outside an image count as the
    student's assignment weighs them.

    The record is that of ``HeadTowers``, which says which convolution. Heads of
    RetinaNet, ATSS, GFL, FCOS, YOLOv8 and rotated RetinaNet, others see
    :func:`aerialkd.structures.head_towers`; each class by its own sigmoid.

    Args:
        gamma: exponent of the class term's modulating factor.
        compare: ``'boxes'``: decoded boxes, by 1 - GIoU or ``rotated_loss``.
            ``'distributions'``: of heads that have them (GFL, YOLOv8), the divergence
            KL(t || cross), summed over the bins, mean of the four sides as in GFL's own
            loss; to read it as their sum, multiply ``reg_weight`` by 4.
        cls_weight: of the class term.
        reg_weight: of the box term; 4 with distributions in the official GFL config.
        rotated_loss: loss of rotated boxes: Gaussian KLD when omitted.
        loss_weight: of both.
    """

    def __init__(
        self,
        gamma: Exponent = 1.0,
        compare: Literal['boxes', 'distributions'] = 'boxes',
        cls_weight: NotNegative = 1.0,
        reg_weight: NotNegative = 1.0,
        rotated_loss: dict | None = None,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.gamma, self.compare = gamma, compare
        self.cls_weight, self.reg_weight = cls_weight, reg_weight
        self.rotated_loss = ALL_MODELS.build(
            rotated_loss or dict(type='mmrotate.GDLoss', loss_type='kld', tau=1.0)
        )

    def forward(
        self, preds_S: TowerRecord, preds_T: TowerRecord, batch: BatchContext
    ) -> Tensor:
        """Compare cross-head predictions with the teacher's; the result is a scalar.

        Args:
            preds_S: the student's record of ``HeadTowers``.
            preds_T: the teacher's.
            batch: knows the teacher's head and the student's assigned targets.

        Raises:
            ConfigError: if it is another record, a head is not served, has no
                distributions or other priors.
            ShapeError: if channels, maps or classes differ.
            RecordError: if the student assigned no targets.
        """
        terms = self.terms(preds_S, preds_T, batch)
        classes = terms.classes.sum() / batch.assigned.avg_factor
        boxes = terms.boxes.sum() / averaged_count(terms.weights.sum())
        return self.loss_weight * (self.cls_weight * classes + self.reg_weight * boxes)

    def terms(
        self, preds_S: TowerRecord, preds_T: TowerRecord, batch: BatchContext
    ) -> CrossTerms:
        """Both terms of every prior before they are summed and divided."""
        batch.require_same_priors('CrossKDLoss')
        cross = self.cross_predictions(preds_S, preds_T, batch.teacher_head)
        for s, t in zip(cross, preds_T.outputs[:2], strict=True):
            _same_maps(s, t)
        importance = batch.assigned.label_weights
        weights = self._confidence(preds_T, batch) * (importance > 0)
        classes = self._class_distance(cross[0], preds_T.outputs[0], batch)
        boxes = self._box_distance(cross, preds_T.outputs, batch)
        return CrossTerms(classes * importance, boxes * weights, weights)

    def cross_predictions(
        self, preds_S: TowerRecord, preds_T: TowerRecord, teacher_head: Any
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Class scores and boxes by level, as the teacher's head returns them."""
        for preds in (preds_S, preds_T):
            if not isinstance(preds, TowerRecord):
                raise ConfigError(
                    f'CrossKDLoss: got a {type(preds).__name__}, expected the record '
                    "of a recorder of type 'HeadTowers', without levels or data_idx."
                )
        levels = head_towers(teacher_head)
        scores, boxes = (
            [
                getattr(towers, kind).resume(_matched(kind, s, t), preds_T.idx)
                for towers, (s, t) in zip(
                    levels,
                    level_pairs(getattr(preds_S, kind), getattr(preds_T, kind)),
                    strict=True,
                )
            ]
            for kind in ('cls', 'reg')
        )
        return scores, boxes

    def _class_distance(
        self, s: Sequence[Tensor], t: Sequence[Tensor], batch: BatchContext
    ) -> Tensor:
        """Summed over the classes, (N, L)."""
        classes = batch.teacher_head.cls_out_channels
        # Summed as maps: to list every class by prior would copy them for nothing.
        summed = [
            soft_focal_bce(one, other, self.gamma).unflatten(1, (-1, classes)).sum(2)
            for one, other in level_pairs(s, t)
        ]
        return flatten_levels(summed, 1)[..., 0]

    def _box_distance(
        self, cross: Sequence[Any], outputs: Sequence[Any], batch: BatchContext
    ) -> Tensor:
        """(N, L)."""
        if self.compare == 'distributions':
            bins = _num_bins(outputs, batch.teacher_head)
            s, t = (
                flatten_levels(levels, 4 * bins).unflatten(-1, (4, bins))
                for levels in (cross[1], outputs[1])
            )
            return soft_class_kl(s, t, 1.0, 'teacher_student').mean(-1)
        s, t = (
            batch.decoded_boxes(levels, of_student=False)
            for levels in (cross[1], outputs[1])
        )
        shape, s, t = s.shape[:2], s.flatten(0, 1), t.detach().flatten(0, 1)
        if s.shape[-1] == 4:
            return giou_loss(s, t, reduction='none').view(shape)
        return distance_of_rotated(self.rotated_loss, s, t).view(shape)

    @torch.no_grad()
    def _confidence(self, preds_T: TowerRecord, batch: BatchContext) -> Tensor:
        """The teacher's largest class score of each prior, (N, L)."""
        batch.require_sigmoid('CrossKDLoss')
        classes = batch.teacher_head.cls_out_channels
        best = [
            at_least_float(level).unflatten(1, (-1, classes)).amax(2).sigmoid()
            for level in preds_T.outputs[0]
        ]
        return flatten_levels(best, 1)[..., 0]

    def masks(self, preds_T: Any, batch: BatchContext) -> Maps:
        """The weights of the box term, the largest of each cell's priors."""
        levels = preds_T.outputs[0]
        return {
            'teacher score': tuple(level.amax(1).float().sigmoid() for level in levels)
        }

    @torch.no_grad()
    def spatial_maps(
        self,
        preds_S: Any,
        preds_T: Any,
        batch: BatchContext | None = None,
    ) -> Maps:
        """Each cell's share of both terms, summed over its priors."""
        if batch is None:
            return {}
        terms = self.terms(preds_S, preds_T, batch)
        sizes = [map_size(level) for level in preds_T.outputs[0]]
        return {
            'class loss': sums_of_cells(terms.classes, sizes),
            'box loss': sums_of_cells(terms.boxes, sizes),
        }


def _matched(kind: str, s: Tensor, t: Tensor) -> Tensor:
    if s.shape[1] != t.shape[1]:
        raise ShapeError(
            f'CrossKDLoss, {kind} tower: the student has {s.shape[1]} channels, the '
            f"teacher's convolutions take {t.shape[1]}. Add a connector, connectors="
            f"dict(align=dict(type='aerialkd.TowerAligner', {kind}=dict(in_channels="
            f'{s.shape[1]}, out_channels={t.shape[1]}, num_levels=...))), and name it '
            "in loss_forward_mappings: dict(recorder=..., connector='align')."
        )
    return match_statistics(s, t)


def _same_maps(cross: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    for s, t in level_pairs(cross, outputs):
        if s.shape != t.shape:
            raise ShapeError(
                f'CrossKDLoss: from the student the teacher predicts {tuple(s.shape)}, '
                f'from its own features {tuple(t.shape)}. Both necks must give maps of '
                'the same sizes; a head that predicts on a finer grid than its maps '
                'have (LA) is not served.'
            )


def _num_bins(outputs: Sequence[Any], head: Any) -> int:
    """Bins of a side's distribution."""
    priors = outputs[0][0].shape[1] // head.cls_out_channels
    bins, rest = divmod(outputs[1][0].shape[1], 4 * priors)
    if rest or bins < 2:
        raise ConfigError(
            f'CrossKDLoss(compare="distributions"): {type(head).__name__} has '
            f'{outputs[1][0].shape[1]} channels of boxes for {priors} priors a cell, '
            "expected a distribution for each of four sides. Set compare='boxes'."
        )
    return bins
