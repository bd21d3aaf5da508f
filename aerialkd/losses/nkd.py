"""NKD: From Knowledge Distillation to Self-Knowledge Distillation.

Yang et al., ICCV 2023: "A Unified Approach with Normalized Loss and Customized Soft
Labels".
"""

from __future__ import annotations

from torch import Tensor

from aerialkd.arguments import NotNegative, Positive
from aerialkd.losses.functional.soft_labels import normalized_kd_each
from aerialkd.losses.head_loss import LabelledHeadLoss
from aerialkd.registry import MODELS


@MODELS.register_module()
class NKDLoss(LabelledHeadLoss):
    """The true class, and the other classes brought to the same sum.

    :func:`normalized_kd` of each object's priors: those that the student's assignment
    made positive, with a softmax over the class logits and the assigned classes as
    labels, divided by the number of positives. The paper classifies images.

    Args:
        gamma: weight of the other classes.
        tau: their temperature.
        loss_weight: factor of the whole.
    """

    def __init__(
        self,
        gamma: NotNegative = 1.5,
        tau: Positive = 1.0,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.gamma, self.tau = gamma, tau

    def _distance(self, s: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return normalized_kd_each(s, t, labels, self.gamma, self.tau)
