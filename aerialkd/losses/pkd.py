"""PKD: General Distillation Framework for Object Detectors via Pearson Correlation.

Cao et al., NeurIPS 2022.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aerialkd.arguments import NotNegative
from aerialkd.losses.base import DistillLoss, Levels, Maps, level_pairs
from aerialkd.losses.functional import pearson_loss, pearson_map
from aerialkd.registry import MODELS
from aerialkd.structures import BatchContext


@MODELS.register_module()
class PKDLoss(DistillLoss):
    """Pearson distance of pyramid features, summed over the levels (eq. 4).

    Unlike mmrazor's class it is finite on 1x1 maps and constant channels, and
    resizes when height *or* width differ.

    Channels are standardised over the images of a process, as in the official code. On
    several processes that is, as with batch norm, not the loss of one process with all
    images.

    Args:
        loss_weight: 10 for one-stage and 6 for two-stage detectors in the paper.
        resize_stu: resize the student's map (bilinear) where the sizes differ;
            otherwise the teacher's.
    """

    def __init__(
        self, loss_weight: NotNegative = 10.0, resize_stu: bool = True
    ) -> None:
        super().__init__(loss_weight)
        self.resize_stu = resize_stu

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """Compare maps (N, C, H_l, W_l); the result is a scalar.

        Raises:
            ShapeError: if batch size, channels or the number of levels differ.
        """
        pairs = [self._same_size(s, t) for s, t in level_pairs(preds_S, preds_T)]
        total = sum(pearson_loss(s, t) for s, t in pairs)
        return self.loss_weight * total  # type: ignore[return-value]

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Levels, preds_T: Levels, batch: BatchContext | None = None
    ) -> Maps:
        """Each cell's share of the loss; see :func:`pearson_map`."""
        pairs = [self._same_size(s, t) for s, t in level_pairs(preds_S, preds_T)]
        return {'loss of a cell': tuple(pearson_map(s, t) for s, t in pairs)}

    def _same_size(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if s.shape[2:] == t.shape[2:]:
            return s, t
        if self.resize_stu:
            return F.interpolate(s, t.shape[2:], mode='bilinear'), t
        return s, F.interpolate(t, s.shape[2:], mode='bilinear')
