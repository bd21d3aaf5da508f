"""WSLD: Rethinking Soft Labels for Knowledge Distillation.

Zhou et al., ICLR 2021.
"""

from __future__ import annotations

from torch import Tensor

from aerialkd.arguments import NotNegative, Positive
from aerialkd.losses.functional.soft_labels import weighted_soft_label_each
from aerialkd.losses.head_loss import LabelledHeadLoss
from aerialkd.registry import MODELS


@MODELS.register_module()
class WSLDLoss(LabelledHeadLoss):
    """Soft labels, weighed by what is left to learn.

    :func:`weighted_soft_label` of each object's priors: those that the student's
    assignment made positive, with a softmax over the class logits and the assigned
    classes as labels, divided by the number of positives. The paper classifies images.

    Args:
        tau: temperature.
        loss_weight: 2.5 in the paper.
    """

    def __init__(self, tau: Positive = 2.0, loss_weight: NotNegative = 2.5) -> None:
        super().__init__(loss_weight)
        self.tau = tau

    def _distance(self, s: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return weighted_soft_label_each(s, t, labels, self.tau)
