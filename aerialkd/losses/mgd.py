"""MGD: Masked Generative Distillation.

Yang et al., ECCV 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aerialkd.arguments import Count, NotNegative, Share
from aerialkd.losses.base import Levels
from aerialkd.losses.masked_generation import MaskedGenerationLoss
from aerialkd.registry import MODELS


@MODELS.register_module()
class MGDLoss(MaskedGenerationLoss):
    """Restore the teacher's map from a randomly masked student's map (eq. 2 to 4).

    A cell is kept where a uniform random number is at most ``1 - lambda_mgd``, all its
    channels together; a block of two convolutions restores the teacher's map::

        L = alpha_mgd * sum over images, channels and cells of (F_t - G(F_s * M))^2 / N

    summed over the levels. The sum stays a sum, which the small weights assume.
    Without boxes: horizontal and rotated detectors alike.

    Args:
        student_channels: channels of the student's maps, one number or one a level;
            where they differ from the teacher's, a 1x1 convolution aligns them.
        teacher_channels: alike.
        alpha_mgd: weight; 2e-5 for one-stage and 5e-7 for two-stage detectors.
        lambda_mgd: share of the cells that are masked; .65 and .45.
        num_levels: number of levels; one where no argument says otherwise.
        loss_weight: a further factor.
    """

    def __init__(
        self,
        student_channels: Count | Sequence[Count],
        teacher_channels: Count | Sequence[Count],
        alpha_mgd: NotNegative = 2e-5,
        lambda_mgd: Share = 0.65,
        num_levels: Count | None = None,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(student_channels, teacher_channels, num_levels, loss_weight)
        self.alpha_mgd, self.lambda_mgd = alpha_mgd, lambda_mgd

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """See :meth:`MaskedGenerationLoss.forward`."""
        return self.alpha_mgd * super().forward(preds_S, preds_T)

    def regenerate(self, level: int, s: Tensor, t: Tensor) -> Tensor:
        """G(F_s * M) with a new random mask."""
        random = torch.rand((len(s), 1, *s.shape[2:]), device=s.device)
        keep = (random <= 1 - self.lambda_mgd).to(s.dtype)
        return self.generation[level](s * keep)
