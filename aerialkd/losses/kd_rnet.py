"""KD-RNet: class scores and box deltas of the head (Xiao et al., rotated objects).

Xiao and Zhang, "Knowledge Distillation for Oriented Object Detection on Aerial
Images". Both losses work on horizontal anchors alike.

===========================  ===============================================
paper                        here
===========================  ===============================================
L_KD-cls, p_s, p_t (eq. 2)   :class:`SoftClassLoss`, ``soft_class_kl``
L_KD-reg, x_s, x_t (eq. 3)   :class:`SoftRegressionLoss`, ``soft_smooth_l1``
lambda_3, lambda_4 (eq. 1)   ``loss_weight`` of each
temperatures 8, 10 (III-A)   ``tau`` of each
X, the anchors (not stated)  ``positions``
===========================  ===============================================
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aerialkd.errors import ConfigError
from aerialkd.losses.base import DistillLoss, Maps, map_size, one_of
from aerialkd.losses.functional import soft_class_kl, soft_smooth_l1
from aerialkd.losses.functional.checks import above_zero, same_shape
from aerialkd.losses.functional.logits import DIRECTIONS
from aerialkd.registry import MODELS
from aerialkd.structures import BatchContext, sums_of_cells

POSITIONS = ('positive', 'all')


class _HeadLoss(DistillLoss):
    """A distance of two dense heads' outputs at the positives, or at all priors.

    The sum over the priors is divided by the normaliser of the student's task loss:
    the number of its positives, averaged over processes. Student and teacher must have
    the same priors, and the same coder where deltas are compared.

    Args:
        positions: ``'positive'``: the priors that the student's own assignment gave an
            object. ``'all'``: every prior but those of padding; their sum is divided by
            the same normaliser, as that of the focal loss is, and the background's
            priors are a thousand times as many: lower ``loss_weight``.
        loss_weight: 1 in the paper's sum (eq. 1), as it gives no other.
    """

    def __init__(self, positions: str, loss_weight: float) -> None:
        super().__init__(loss_weight)
        one_of(self, 'positions', positions, POSITIONS)
        self.positions = positions

    def forward(self, preds_S: Any, preds_T: Any, batch: BatchContext) -> Tensor:
        """Compare the outputs of two dense heads; the result is a scalar.

        Args:
            preds_S: the student's ``(cls_scores, bbox_preds, ...)``, each a tuple of
                levels (N, A * K, H_l, W_l) and (N, A * D, H_l, W_l).
            preds_T: the teacher's, with the same priors and classes.
            batch: knows the student's assigned targets.

        Raises:
            ShapeError: if priors, classes or deltas differ in number.
            ConfigError: if the head has no box deltas to compare.
            RecordError: if the student assigned no targets.
        """
        name = type(self).__name__
        batch.require_same_priors(name)
        s, t = (self._flat(preds, batch) for preds in (preds_S, preds_T))
        same_shape(name, s, t)
        chosen = self._chosen(preds_S, s, batch)
        # Without any, the sum of nothing: 0, and attached to the graph.
        total = self._distance(s[chosen], t[chosen]).sum()
        return self.loss_weight * total / batch.assigned.avg_factor

    def masks(self, preds_T: Any, batch: BatchContext) -> Maps:
        """How many priors of each cell are compared."""
        chosen = self._chosen(preds_T, self._flat(preds_T, batch), batch)
        return {
            f'{self.positions} priors': sums_of_cells(
                chosen.float(), [map_size(x) for x in preds_T[0]]
            )
        }

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Any, preds_T: Any, batch: BatchContext | None = None
    ) -> Maps:
        """Each cell's share of the loss, summed over its priors."""
        if batch is None:
            return {}
        s, t = (self._flat(preds, batch) for preds in (preds_S, preds_T))
        chosen = self._chosen(preds_S, s, batch)
        loss = s.new_zeros(chosen.shape, dtype=torch.float32)
        of_prior = self._distance(s[chosen], t[chosen])
        loss[chosen] = of_prior.sum(-1) if of_prior.ndim > 1 else of_prior
        return {'loss': sums_of_cells(loss, [map_size(x) for x in preds_S[0]])}

    def _chosen(self, preds: Any, flat: Tensor, batch: BatchContext) -> Tensor:
        """Priors that are compared, (N, L) bool."""
        if self.positions == 'positive':
            return batch.assigned.positive
        every = torch.ones(flat.shape[:2], dtype=torch.bool, device=flat.device)
        valid = batch.valid_priors(preds[0], flat.shape[1])
        return every if valid is None else valid

    def _flat(self, preds: Any, batch: BatchContext) -> Tensor:
        """What is compared, by prior, (N, L, C)."""
        raise NotImplementedError

    def _distance(self, s: Tensor, t: Tensor) -> Tensor:
        """Of the chosen priors, (n, C) x2 -> (n,) or (n, C)."""
        raise NotImplementedError


@MODELS.register_module()
class SoftClassLoss(_HeadLoss):
    """Imitate the class distribution of each object's priors (eq. 2).

    ``L = sum over positives of tau^2 * KL(p_s || p_t) / number of positives``, see
    :func:`soft_class_kl`. The distributions are a softmax over the class logits,
    also of heads that are trained with a sigmoid for each class, as RetinaNet's is:
    which class, not whether there is an object. A detector of one class has nothing to
    learn from it and is refused.

    Args:
        tau: temperature (III-A).
        direction: ``'student_teacher'`` as eq. 2 is printed, or ``'teacher_student'``,
            the usual form.
        positions: ``'positive'`` or ``'all'``, see the base class; not stated in the
            paper.
        loss_weight: lambda_3 of eq. 1, not stated.
    """

    def __init__(
        self,
        tau: float = 8.0,
        direction: str = 'student_teacher',
        positions: str = 'positive',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(positions, loss_weight)
        above_zero('SoftClassLoss.tau', tau)
        one_of(self, 'direction', direction, DIRECTIONS)
        self.tau, self.direction = tau, direction

    def _flat(self, preds: Any, batch: BatchContext) -> Tensor:
        logits = batch.flat_logits(preds[0])
        if logits.shape[-1] < 2:
            raise ConfigError(
                'SoftClassLoss: got one class, expected at least two: a softmax over '
                'one class is always 1, and the loss always 0. Leave it out: '
                "model.distiller.only=['soft_regression']."
            )
        return logits

    def _distance(self, s: Tensor, t: Tensor) -> Tensor:
        return soft_class_kl(s, t, self.tau, self.direction)


@MODELS.register_module()
class SoftRegressionLoss(_HeadLoss):
    """Imitate the encoded box of each object's priors (eq. 3).

    ``L = sum over positives and deltas of tau^2 * smooth_l1((x_t - x_s) / tau) /
    number of positives``, see :func:`soft_smooth_l1`. x are the head's raw outputs:
    four deltas a prior, five with the angle. Distributions (GFL) and points (FCOS) are
    none and are refused.

    Args:
        tau: temperature (III-A); None is eq. 3 as printed.
        positions: ``'positive'`` or ``'all'``, see the base class; not stated in the
            paper.
        loss_weight: lambda_4 of eq. 1, not stated.
    """

    def __init__(
        self,
        tau: float | None = 10.0,
        positions: str = 'positive',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(positions, loss_weight)
        if tau is not None:
            above_zero('SoftRegressionLoss.tau', tau)
        self.tau = tau

    def _flat(self, preds: Any, batch: BatchContext) -> Tensor:
        return batch.flat_deltas(preds[1])

    def _distance(self, s: Tensor, t: Tensor) -> Tensor:
        return soft_smooth_l1(s, t, self.tau)
