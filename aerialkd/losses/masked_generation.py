"""What MGD and AMD share: a masked student's map from which the teacher's is made."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from aerialkd.arguments import Count, NotNegative
from aerialkd.connectors import GenerationBlock, channel_aligners
from aerialkd.losses.base import DistillLoss, Levels, built_pairs
from aerialkd.losses.functional.checks import same_shape
from aerialkd.losses.functional.features import squared_distance


class MaskedGenerationLoss(DistillLoss):
    """Sum of squared differences between the teacher's maps and regenerated ones.

    Over channels and cells, a mean over images, summed over levels. A subclass defines
    :meth:`regenerate`, which masks the student's map and calls ``generation[level]``.

    Args:
        student_channels: channels of the student's maps, one number or one a level;
            where they differ from the teacher's, a 1x1 convolution aligns them.
        teacher_channels: alike.
        num_levels: number of levels; one where no argument says otherwise.
        loss_weight: factor of the loss in the total.
    """

    def __init__(
        self,
        student_channels: Count | Sequence[Count],
        teacher_channels: Count | Sequence[Count],
        num_levels: Count | None = None,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.align, self.channels = channel_aligners(
            num_levels, student_channels, teacher_channels
        )
        self.generation = nn.ModuleList(GenerationBlock(c) for c in self.channels)

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """Restore maps (N, C, H_l, W_l); the result is a scalar.

        Raises:
            ShapeError: if shapes or the number of levels do not fit.
        """
        pairs = built_pairs(self, self.align, preds_S, preds_T)
        total = sum(self._level(level, s, t) for level, (s, t) in enumerate(pairs))
        return self.loss_weight * total  # type: ignore[return-value]

    def regenerate(self, level: int, s: Tensor, t: Tensor) -> Tensor:
        """The teacher's map out of the student's, (N, C, H, W).

        Args:
            level: index of the blocks.
            s: the student's map, with the teacher's channels.
            t: the teacher's map, for masks; no gradient.
        """
        raise NotImplementedError

    def _level(self, level: int, s: Tensor, t: Tensor) -> Tensor:
        s, t = self.align[level](s), t.detach()
        same_shape(type(self).__name__, s, t)
        return squared_distance(self.regenerate(level, s, t), t).sum() / len(s)
