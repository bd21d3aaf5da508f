"""FGD: Focal and Global Knowledge Distillation for Detectors.

Yang et al., CVPR 2022.

| paper | here |
|---|---|
| A^S, A^C (eq. 4 to 7) | :func:`spatial_channel_attention` |
| M, S (eq. 2, 3) | ``foreground``, ``background``: mask times scale |
| L_fea (eq. 8) | ``alpha_fgd``, ``beta_fgd`` |
| L_at (eq. 9) | ``gamma_fgd`` |
| R, L_global | ``student_context``, ``teacher_context``, ``lambda_fgd`` |
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ContextBlock
from torch import Tensor, nn

from aerialkd.arguments import Count, NotNegative, Positive
from aerialkd.connectors import channel_aligners
from aerialkd.losses.base import (
    DistillLoss,
    Levels,
    Maps,
    built_pairs,
    level_pairs,
    map_size,
)
from aerialkd.losses.functional import spatial_channel_attention
from aerialkd.losses.functional.checks import at_least_float, same_shape
from aerialkd.losses.functional.features import squared_distance
from aerialkd.registry import MODELS
from aerialkd.structures import BatchContext


@MODELS.register_module()
class FGDLoss(DistillLoss):
    """Foreground and background apart, and the relations of all cells.

    With the teacher's attention A_s, A_c as weights, for each level::

        L = (alpha * sum_fg + beta * sum_bg) of (F_t - F_s)^2 A_s A_c M / N
          + gamma * (sum |A_c_s - A_c_t| + sum |A_s_s - A_s_t|) / N
          + lambda * sum (GC_s(F_s) - GC_t(F_t))^2 / N

    summed over the levels. M is 1 / (cells of the box) in a box, the largest where
    boxes overlap, and 1 / (number of background cells of the image) outside. GC is a
    global context block (Cao et al. 2019), trained, one for each model and level. Boxes
    are drawn on the padded batch, horizontal and rotated ones; cells of padding are
    background, as in the official code.

    Args:
        student_channels: channels of the student's maps, one number or one a level;
            where they differ from the teacher's, a 1x1 convolution aligns them.
        teacher_channels: alike.
        temp: temperature of the attention; .5, FCOS .8.
        alpha_fgd: weight of the foreground; 1e-3, FCOS 1.6e-3.
        beta_fgd: weight of the background; 5e-4, FCOS 8e-4.
        gamma_fgd: weight of the attention; 5e-4, FCOS 8e-4.
        lambda_fgd: weight of the relations; 5e-6, FCOS 8e-6.
        num_levels: number of levels; one where no argument says otherwise.
        loss_weight: a further factor.
    """

    def __init__(
        self,
        student_channels: Count | Sequence[Count],
        teacher_channels: Count | Sequence[Count],
        temp: Positive = 0.5,
        alpha_fgd: NotNegative = 1e-3,
        beta_fgd: NotNegative = 5e-4,
        gamma_fgd: NotNegative = 5e-4,
        lambda_fgd: NotNegative = 5e-6,
        num_levels: Count | None = None,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.temp = temp
        self.alpha_fgd, self.beta_fgd = alpha_fgd, beta_fgd
        self.gamma_fgd, self.lambda_fgd = gamma_fgd, lambda_fgd
        self.align, channels = channel_aligners(
            num_levels, student_channels, teacher_channels
        )
        # Their last convolution starts at 0: a block first hands its input through.
        self.student_context = _context_blocks(channels)
        self.teacher_context = _context_blocks(channels)

    def forward(self, preds_S: Levels, preds_T: Levels, batch: BatchContext) -> Tensor:
        """Compare maps (N, C, H_l, W_l); the result is a scalar.

        Raises:
            ShapeError: if shapes or the number of levels do not fit.
        """
        pairs = built_pairs(self, self.align, preds_S, preds_T)
        total = sum(self._level(i, s, t, batch) for i, (s, t) in enumerate(pairs))
        return self.loss_weight * total / batch.num_images  # type: ignore[return-value]

    def _level(self, level: int, s: Tensor, t: Tensor, batch: BatchContext) -> Tensor:
        s, t = self.align[level](s), t.detach()
        same_shape('FGDLoss', s, t)
        spatial_s, channel_s = spatial_channel_attention(s, self.temp)
        spatial_t, channel_t = spatial_channel_attention(t, self.temp)
        foreground, background = self.scaled_masks(map_size(t), batch)
        weight = self.alpha_fgd * foreground + self.beta_fgd * background
        scale = channel_t.sqrt()[:, :, None, None]
        focal = (squared_distance(s * scale, t * scale) * spatial_t * weight).sum()
        attention = (channel_s - channel_t).abs().sum()
        attention = attention + (spatial_s - spatial_t).abs().sum()
        relation_s = self.student_context[level](at_least_float(s))
        relation_t = self.teacher_context[level](at_least_float(t))
        relation = (relation_s - relation_t).square().sum()
        return focal + self.gamma_fgd * attention + self.lambda_fgd * relation

    @torch.no_grad()
    def scaled_masks(
        self, feat_size: tuple[int, int], batch: BatchContext
    ) -> tuple[Tensor, Tensor]:
        """Foreground and background mask times scale (eq. 2, 3), (N, H, W) each."""
        cells = batch.cells(feat_size)
        foreground = cells.draw(1 / cells.count.clamp(min=1))
        background = (foreground == 0).to(foreground)
        number = background.sum((1, 2), keepdim=True).clamp(min=1)
        return foreground, background / number

    def masks(self, preds_T: Levels, batch: BatchContext) -> Maps:
        """The teacher's attention and both masks."""
        maps = [t for t, _ in level_pairs(preds_T, preds_T)]
        scaled = [self.scaled_masks(map_size(t), batch) for t in maps]
        return {
            'attention A_s': tuple(
                spatial_channel_attention(t, self.temp)[0] for t in maps
            ),
            'foreground M': tuple(foreground for foreground, _ in scaled),
            'background M': tuple(background for _, background in scaled),
        }


def _context_blocks(channels: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(ContextBlock(width, ratio=1 / 2) for width in channels)
