"""FGFI: Distilling Object Detectors with Fine-grained Feature Imitation.

Wang et al., CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from aerialkd.arguments import NotNegative, Share
from aerialkd.losses.base import Levels, Maps
from aerialkd.losses.zoominnet import PositionAwareL2Loss
from aerialkd.registry import MODELS
from aerialkd.structures import BatchContext


@MODELS.register_module()
class FGFILoss(PositionAwareL2Loss):
    """Imitate features at anchors near objects.

    The ancestor of ZoomInNet's :class:`PositionAwareL2Loss`, with a fixed factor for
    the mask and half the squared difference: for each level ``sum over key cells and
    channels of (F_t - F_s)^2 / (2 * number of key cells)``, summed over the levels. A
    3x3 convolution with ReLU adapts the student's map: name a ``PyramidAligner`` with
    ``kernel_size=3`` and ``act_cfg=dict(type='ReLU')`` as connector.

    Args:
        threshold: factor psi of an object's largest IoU; .5 in the paper.
        anchors: see :class:`PositionAwareL2Loss`.
        levels: likewise.
        loss_weight: .01 in the paper.
    """

    def __init__(
        self,
        threshold: Literal['adaptive', 'per_gt', 'nonzero'] | Share = 0.5,
        anchors: dict | None = None,
        levels: Sequence[int] | None = None,
        loss_weight: NotNegative = 0.01,
    ) -> None:
        super().__init__(threshold, anchors, levels, loss_weight)

    def forward(self, preds_S: Levels, preds_T: Levels, batch: BatchContext) -> Tensor:
        """Compare maps (N, C, H_l, W_l); as in the base class, halved."""
        return super().forward(preds_S, preds_T, batch) / 2

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Levels, preds_T: Levels, batch: BatchContext | None = None
    ) -> Maps:
        """Half each cell's squared difference, 0 where it is not key."""
        maps = super().spatial_maps(preds_S, preds_T, batch)
        return {name: tuple(x / 2 for x in levels) for name, levels in maps.items()}
