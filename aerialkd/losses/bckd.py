"""BCKD: Bridging Cross-task Protocol Inconsistency for Distillation.

Yang et al., ICCV 2023: "... in Dense Object Detection".
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.losses.iou_loss import giou_loss
from torch import Tensor

from aerialkd.arguments import Exponent, NotNegative
from aerialkd.losses.base import Maps, map_size
from aerialkd.losses.functional import soft_focal_bce
from aerialkd.losses.functional.checks import same_shape
from aerialkd.losses.rdr_kd import ResponsiveLoss
from aerialkd.registry import MODELS
from aerialkd.structures import BatchContext, sums_of_cells


@MODELS.register_module()
class BCKDLoss(ResponsiveLoss):
    """Binary class distillation, and the boxes of all priors.

    RDR-KD's :class:`ResponsiveLoss` is its descendant. With the logits of the student's
    own head::

        L = (cls_weight * sum over priors and classes of w * BCE(s, sigmoid(t)) *
             |sigmoid(t) - sigmoid(s)|^gamma
           + bbox_weight * sum over priors of max_c |p_t - p_s| * (1 - GIoU(b_s, b_t)))
          / normaliser of the student's task loss

    w is the assignment's weight of a prior (0 for priors that are neither object nor
    background), the disparity max_c |p_t - p_s| a constant for the gradient. Levels
    without a positive count like the others; the official code skips them. Priors of
    padding do not.

    Horizontal anchors, points and distributions. For rotated boxes the localisation
    term is ``rotated_loss``.

    Args:
        gamma: exponent of the disparity in the class term.
        cls_weight: weight of the class term.
        bbox_weight: weight of the boxes.
        rotated_loss: loss of rotated boxes (n, 5), with ``reduction='none'``.
        loss_weight: factor of both.
    """

    def __init__(
        self,
        gamma: Exponent = 1.0,
        cls_weight: NotNegative = 1.0,
        bbox_weight: NotNegative = 4.0,
        rotated_loss: dict | None = None,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(gamma, 'disparity', rotated_loss, loss_weight)
        self.cls_weight, self.bbox_weight = cls_weight, bbox_weight

    def forward(self, preds_S: Any, preds_T: Any, batch: BatchContext) -> Tensor:
        """Compare the outputs of two dense heads; the result is a scalar.

        Args:
            preds_S: as for :class:`ResponsiveLoss`.
            preds_T: likewise.
            batch: decodes them, and knows the student's assigned targets.

        Raises:
            ShapeError: if priors differ in number.
            ConfigError: if both heads have other priors or classes, or one is not
                served.
            RecordError: if the student assigned no targets.
        """
        classes, boxes = self.prior_terms(preds_S, preds_T, batch)
        total = classes.sum() + boxes.sum()
        return self.loss_weight * total / batch.assigned.avg_factor

    def prior_terms(
        self, preds_S: Any, preds_T: Any, batch: BatchContext
    ) -> tuple[Tensor, Tensor]:
        """Both weighted terms of every prior, (N, L) each."""
        self._check_heads(batch)
        s, t = (batch.flat_logits(preds[0]) for preds in (preds_S, preds_T))
        same_shape('BCKDLoss, class scores', s, t)
        classes = soft_focal_bce(s, t, self.gamma).sum(-1)
        classes = classes * batch.assigned.label_weights
        valid = batch.valid_priors(preds_S[0], classes.shape[1])
        if valid is not None:  # points have no weight 0 there, anchors do
            classes = classes * valid
        boxes = self._boxes(preds_S, preds_T, batch)
        return self.cls_weight * classes, self.bbox_weight * boxes

    def _localisation(self, boxes_S: Tensor, boxes_T: Tensor) -> Tensor:
        if boxes_S.shape[-1] == 4:
            return giou_loss(boxes_S, boxes_T.detach(), reduction='none')
        return super()._localisation(boxes_S, boxes_T)

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Any, preds_T: Any, batch: BatchContext | None = None
    ) -> Maps:
        """Each cell's share of both terms, summed over its priors."""
        if batch is None:
            return {}
        sizes = [map_size(level) for level in preds_S[0]]
        classes, boxes = self.prior_terms(preds_S, preds_T, batch)
        return {
            'class loss': sums_of_cells(classes, sizes),
            'box loss': sums_of_cells(boxes, sizes),
        }
