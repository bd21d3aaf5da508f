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

from typing import Any, Literal

from torch import Tensor

from aerialkd.arguments import NotNegative, Positive
from aerialkd.losses.functional import soft_class_kl, soft_smooth_l1
from aerialkd.losses.head_loss import ClassHeadLoss, HeadLoss
from aerialkd.registry import MODELS
from aerialkd.structures import BatchContext


@MODELS.register_module()
class SoftClassLoss(ClassHeadLoss):
    """Imitate the class distribution of each object's priors (eq. 2).

    ``L = sum over positives of tau^2 * KL(p_s || p_t) / number of positives``, see
    :func:`soft_class_kl`; a softmax over the logits, see :class:`ClassHeadLoss`.

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
        tau: Positive = 8.0,
        direction: Literal['student_teacher', 'teacher_student'] = 'student_teacher',
        positions: Literal['positive', 'all'] = 'positive',
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(positions, loss_weight)
        self.tau, self.direction = tau, direction

    def _distance(self, s: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return soft_class_kl(s, t, self.tau, self.direction)


@MODELS.register_module()
class SoftRegressionLoss(HeadLoss):
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
        tau: Positive | None = 10.0,
        positions: Literal['positive', 'all'] = 'positive',
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(positions, loss_weight)
        self.tau = tau

    def _flat(self, preds: Any, batch: BatchContext) -> Tensor:
        return batch.flat_deltas(preds[1])

    def _distance(self, s: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return soft_smooth_l1(s, t, self.tau)
