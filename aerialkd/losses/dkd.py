"""DKD: Decoupled Knowledge Distillation.

Zhao et al., CVPR 2022.
"""

from __future__ import annotations

from torch import Tensor

from aerialkd.arguments import NotNegative, Positive
from aerialkd.losses.functional.soft_labels import decoupled_kd_each
from aerialkd.losses.head_loss import LabelledHeadLoss
from aerialkd.registry import MODELS


@MODELS.register_module()
class DKDLoss(LabelledHeadLoss):
    """The true class and the other classes apart (eq. 7).

    :func:`decoupled_kd` of each object's priors: those that the student's assignment
    made positive, with a softmax over the class logits and the assigned classes as
    labels, divided by the number of positives.

    Args:
        alpha: weight of the true class.
        beta: weight of the others; .25 for detectors, 8 for image classifiers.
        tau: temperature; 1 for detectors, 4 for image classifiers.
        loss_weight: factor of the whole.
    """

    def __init__(
        self,
        alpha: NotNegative = 1.0,
        beta: NotNegative = 0.25,
        tau: Positive = 1.0,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.alpha, self.beta, self.tau = alpha, beta, tau

    def _distance(self, s: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return decoupled_kd_each(s, t, labels, self.alpha, self.beta, self.tau)
