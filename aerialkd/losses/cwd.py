"""CWD: Channel-wise Knowledge Distillation for Dense Prediction.

Shu et al., ICCV 2021.
"""

from __future__ import annotations

from torch import Tensor

from aerialkd.arguments import NotNegative, Positive
from aerialkd.losses.base import DistillLoss, Levels, level_pairs
from aerialkd.losses.functional import channel_wise_divergence
from aerialkd.registry import MODELS


@MODELS.register_module()
class CWDLoss(DistillLoss):
    """Where each channel is active, summed over the levels.

    For features of any pyramid, and for maps of class logits (record ``HeadOutputs``,
    ``data_idx=0``). See :func:`channel_wise_divergence`. All cells of the batch count,
    those of padding too, as in the official code. Without boxes: horizontal and rotated
    detectors alike.

    Args:
        tau: temperature of the distribution over the cells.
        loss_weight: 10 for pyramid features, 5 for GFL's class logits (official code).
    """

    def __init__(self, tau: Positive = 1.0, loss_weight: NotNegative = 10.0) -> None:
        super().__init__(loss_weight)
        self.tau = tau

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """Compare maps (N, C, H_l, W_l); the result is a scalar.

        Raises:
            ShapeError: if shapes or the number of levels differ.
        """
        pairs = level_pairs(preds_S, preds_T)
        total = sum(channel_wise_divergence(s, t, self.tau) for s, t in pairs)
        return self.loss_weight * total  # type: ignore[return-value]
