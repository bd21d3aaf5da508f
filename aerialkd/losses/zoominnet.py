"""ZoomInNet: imitate a teacher at twice the scale where objects are (Liu et al. 2021).

"ZoomInNet: A Novel Small Object Detector in Drone Images with Cross-Scale Knowledge
Distillation", Remote Sensing 13, 1198.

===============================  ===============================================
paper                            here
===============================  ===============================================
IOU_map, max_IOU (eq. 11 to 13)  :func:`key_positions`, ``key_position_mask``
lambda_thresh (eq. 14, 15)       ``threshold``
mask_final (eq. 16 to 18)        :func:`key_positions`
loss_distill (eq. 19 to 21)      :class:`PositionAwareL2Loss`, ``position_aware_l2``
lambda_distill (eq. 21 and 22)   ``loss_weight``, applied once
UP2x S, T -> S (eq. 7)           ``BatchContext.on_grid``
===============================  ===============================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from mmdet.models.task_modules import AnchorGenerator
from torch import Tensor

from aerialkd.arguments import NotNegative, Share
from aerialkd.errors import ConfigError
from aerialkd.losses.base import DistillLoss, Levels, Maps, level_pairs, map_size
from aerialkd.losses.functional import position_aware_l2
from aerialkd.losses.functional.checks import same_shape
from aerialkd.losses.functional.features import squared_distance
from aerialkd.losses.functional.positions import key_positions
from aerialkd.registry import MODELS, TASK_UTILS
from aerialkd.structures import BatchContext, averaged_count


@MODELS.register_module()
class PositionAwareL2Loss(DistillLoss):
    """Imitate features where the student's anchors overlap objects (eq. 11 to 21).

    ``L = sum over levels of (sum over key cells and channels of (F_t - F_s)^2 / number
    of key cells)``, see :func:`position_aware_l2` and :func:`key_position_mask`. With
    several processes the numbers are averaged over them: :func:`averaged_count`.

    Both maps are compared on the grid of the student's anchors, cell by cell. Where a
    map has another step, nearest cells are taken: the student's map is enlarged if its
    head predicts on a finer grid (LA), and the teacher's is sub-sampled if it is finer
    than the student's (the plain student). Cells of padding take no part. Horizontal
    and rotated boxes, whose IoU with the anchors is exact.

    Args:
        threshold: lambda of eq. 14: ``'adaptive'`` (eq. 15), ``'per_gt'``,
            ``'nonzero'`` or a number; see :func:`key_position_mask`. 0.5 is FGFI.
        anchors: an anchor generator's config, one grid a level; by default that of the
            student's head. Heads of points (FCOS, YOLOv8) have none.
        levels: levels of the maps to compare; all by default.
        loss_weight: lambda_distill, 0.01 in the paper (eq. 22).
    """

    def __init__(
        self,
        threshold: Literal['adaptive', 'per_gt', 'nonzero'] | Share = 'adaptive',
        anchors: dict | None = None,
        levels: Sequence[int] | None = None,
        loss_weight: NotNegative = 0.01,
    ) -> None:
        super().__init__(loss_weight)
        self.threshold = threshold
        self.anchors = None if anchors is None else TASK_UTILS.build(anchors)
        self.levels = levels

    def forward(self, preds_S: Levels, preds_T: Levels, batch: BatchContext) -> Tensor:
        """Compare maps (N, C, H_l, W_l) of every level; the result is a scalar.

        Raises:
            ShapeError: if batch size, channels or the number of levels differ.
            ConfigError: if the maps are not those of the head's levels, or the head has
                no anchors.
        """
        pairs = self._pairs(preds_S, preds_T, batch)
        counts = averaged_count(torch.stack([mask.sum() for _, _, mask in pairs]))
        total = sum(
            position_aware_l2(*pair, count)
            for pair, count in zip(pairs, counts, strict=True)
        )
        return self.loss_weight * total  # type: ignore[return-value]

    def masks(self, preds_T: Levels, batch: BatchContext) -> Maps:
        """The key positions of each level."""
        pairs = self._pairs(preds_T, preds_T, batch, of_student=False)
        return {'key positions': tuple(mask.float() for _, _, mask in pairs)}

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Levels, preds_T: Levels, batch: BatchContext | None = None
    ) -> Maps:
        """Each cell's squared difference, 0 where it is not key."""
        if batch is None:
            return {}
        pairs = self._pairs(preds_S, preds_T, batch)
        return {'loss': tuple(squared_distance(s, t) * mask for s, t, mask in pairs)}

    def _pairs(
        self,
        preds_S: Levels,
        preds_T: Levels,
        batch: BatchContext,
        of_student: bool = True,
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Student, teacher and key cells of each level, on the same grid."""
        generator = self.anchors or batch.prior_generator
        if not isinstance(generator, AnchorGenerator):
            raise ConfigError(
                'PositionAwareL2Loss: finds key positions with anchors, and the '
                f"student's head has none ({type(generator).__name__}). Give it some: "
                "anchors=dict(type='mmdet.AnchorGenerator', strides=[...], ...)."
            )
        maps = level_pairs(preds_S, preds_T)
        if len(maps) != generator.num_levels:
            raise ConfigError(
                f'PositionAwareL2Loss: got maps of {len(maps)} levels, expected the '
                f'{generator.num_levels} that have anchors. Choose levels with the '
                "loss's own 'levels', not in loss_forward_mappings."
            )
        chosen = range(len(maps)) if self.levels is None else self.levels
        if not set(chosen) <= set(range(len(maps))):
            raise ConfigError(
                f'PositionAwareL2Loss.levels: got {list(chosen)}, expected some of '
                f'0 to {len(maps) - 1}, the levels of the neck.'
            )
        return [
            self._pair(*maps[level], generator, level, batch, of_student)
            for level in chosen
        ]

    def _pair(
        self,
        s: Tensor,
        t: Tensor,
        generator: AnchorGenerator,
        level: int,
        batch: BatchContext,
        of_student: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        stride = generator.strides[level]
        s = batch.on_grid(s, level, stride, of_student)
        t = batch.on_grid(t, level, stride, False)
        _check_sizes(level, s, t)
        # Images that are no multiple of the stride: one map may end a cell earlier.
        size = min(s.shape[-2], t.shape[-2]), min(s.shape[-1], t.shape[-1])
        s, t = (x[..., : size[0], : size[1]] for x in (s, t))
        same_shape('PositionAwareL2Loss', s, t)
        mask = key_positions(
            batch.boxes,
            batch.image_index,
            batch.num_images,
            generator.base_anchors[level],
            stride,
            size,
            self.threshold,
        )
        valid = batch.valid_cells(size)
        return s, t, mask if valid is None else mask & valid


def _check_sizes(level: int, s: Tensor, t: Tensor) -> None:
    """Refuse maps that by their heads' strides do not show the same image."""
    for one, other in zip(map_size(s), map_size(t), strict=True):
        less, more = sorted((one, other))
        if more > less + 2 and more >= 1.5 * less:
            raise ConfigError(
                f'PositionAwareL2Loss, level {level}: on the grid of the anchors, that '
                "the strides of both heads decide, the student's map has "
                f"{map_size(s)} cells, the teacher's {map_size(t)}. Correct the "
                'strides in the anchor_generator of the head whose maps have others.'
            )
