"""AMD: Adaptive Masked Distillation for Object Detection.

Yang et al., IJCNN 2023 ("AWD" in RDR-KD's tables).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmdet.models.layers import SELayer
from torch import Tensor, nn

from aerialkd.arguments import Count, NotNegative, Positive
from aerialkd.losses.base import Levels, Maps, level_pairs
from aerialkd.losses.functional import spatial_channel_attention
from aerialkd.losses.masked_generation import MaskedGenerationLoss
from aerialkd.registry import MODELS
from aerialkd.structures import BatchContext


@MODELS.register_module()
class AMDLoss(MaskedGenerationLoss):
    """Restore the cells that the teacher attends to, channel by channel weighed.

    Cells where the *teacher's* spatial attention (FGD's, mean 1) exceeds a threshold
    are masked out of the student's map; a generation block (MGD's) restores them, and a
    squeeze-and-excitation block weighs the channels of the result::

        L = alpha_amd * sum (F_t - w * G(F_s * [A_s <= threshold]))^2 / N

    summed over the levels. The idea is the paper's; its threshold, weight and the input
    of the squeeze-and-excitation block could not be verified against its code, so that
    they are arguments with the values of MGD and RDR-KD. Without boxes: horizontal and
    rotated detectors alike.

    Args:
        student_channels: channels of the student's maps, one number or one a level;
            where they differ from the teacher's, a 1x1 convolution aligns them.
        teacher_channels: alike.
        alpha_amd: weight; MGD's.
        threshold: attention above which a cell is masked; 1 is the mean.
        temp: temperature of the attention; FGD's.
        se_input: what the channel weights w are made of: the ``'regenerated'`` map
            itself, the ``'student'``'s map before the mask, or the ``'teacher'``'s.
        se_ratio: channels over those between the block's layers.
        num_levels: number of levels; one where no argument says otherwise.
        loss_weight: a further factor.
    """

    def __init__(
        self,
        student_channels: Count | Sequence[Count],
        teacher_channels: Count | Sequence[Count],
        alpha_amd: NotNegative = 2e-5,
        threshold: float = 1.0,
        temp: Positive = 0.5,
        se_input: Literal['regenerated', 'student', 'teacher'] = 'regenerated',
        se_ratio: Count = 16,
        num_levels: Count | None = None,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(student_channels, teacher_channels, num_levels, loss_weight)
        self.alpha_amd, self.threshold, self.temp = alpha_amd, threshold, temp
        self.se_input = se_input
        self.excitation = nn.ModuleList(
            SELayer(width, min(se_ratio, width)) for width in self.channels
        )

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """See :meth:`MaskedGenerationLoss.forward`."""
        return self.alpha_amd * super().forward(preds_S, preds_T)

    def regenerate(self, level: int, s: Tensor, t: Tensor) -> Tensor:
        """G(F_s * [A_s <= threshold]), its channels weighed by w."""
        new = self.generation[level](s * self.keep(t)[:, None].to(s.dtype))
        source = {'regenerated': new, 'student': s, 'teacher': t}[self.se_input]
        return new * self._channel_weights(level, source)

    def _channel_weights(self, level: int, source: Tensor) -> Tensor:
        """Weights in (0, 1) of the channels, (N, C, 1, 1)."""
        block: Any = self.excitation[level]  # forward() weighs its own input only
        return block.conv2(block.conv1(block.global_avgpool(source)))

    @torch.no_grad()
    def keep(self, t: Tensor) -> Tensor:
        """Cells of a level that stay in the student's map, (N, H, W) bool."""
        return spatial_channel_attention(t, self.temp)[0] <= self.threshold

    def masks(self, preds_T: Levels, batch: BatchContext) -> Maps:
        """The teacher's attention, and the cells that stay."""
        maps = [t for t, _ in level_pairs(preds_T, preds_T)]
        return {
            'attention A_s': tuple(
                spatial_channel_attention(t, self.temp)[0] for t in maps
            ),
            'mask (0: regenerated)': tuple(self.keep(t).float() for t in maps),
        }
