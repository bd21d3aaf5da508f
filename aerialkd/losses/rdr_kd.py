"""RDR-KD: A Knowledge Distillation Detection Framework for Drone Scenes.

Huang et al., IEEE Geoscience and Remote Sensing Letters 2024: regenerated, decoupled
and responsive distillation.

| paper | here |
|---|---|
| F^t, F^s | ``t``, ``s``: a level of ``preds_T``, ``preds_S`` |
| A^s, A^c | ``spatial``, ``channel`` |
| M^s, M^c | ``keep_cells``, ``keep_channels`` |
| Omega_PM^s, Omega_PM^c | ``spatial_blocks``, ``channel_blocks`` |
| W^area_q, S_q | ``object_weights``, ``batch.cells(...).count`` |
| l^s, l^t | ``logits_S``, ``logits_T`` |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS as ALL_MODELS
from torch import Tensor, nn

from aerialkd.arguments import Count, Exponent, NotNegative, OddCount, Positive
from aerialkd.connectors import GenerationBlock, channels_of_levels
from aerialkd.losses.base import (
    DistillLoss,
    Levels,
    Maps,
    built_pairs,
    distance_of_rotated,
    level_pairs,
    map_size,
)
from aerialkd.losses.functional import (
    area_softmax,
    efficient_iou_loss,
    soft_focal_bce,
    spatial_channel_attention,
)
from aerialkd.losses.functional.checks import at_least_float, same_shape
from aerialkd.losses.functional.features import squared_distance
from aerialkd.losses.functional.logits import probability_difference
from aerialkd.registry import MODELS
from aerialkd.structures import BatchContext, sums_of_cells


@MODELS.register_module()
class RegeneratedLoss(DistillLoss):
    """Regenerate the key cells and channels of the teacher's map (eq. 1 to 6).

    Cells and channels in which the *teacher* is more active than average are removed
    from the student's map, and so are the cells of small objects; two blocks restore
    the teacher's map from what is left::

        F_new = PM_s(F_s * M_s) + PM_c(F_s * M_c)        (eq. 5)
        L = sum over h, w, c of (F_t - F_new)^2 / N      (eq. 6)

    Eq. 3 and 4 set the mask to 0 where the attention is high: that is not "keep the
    foreground". The sum stays a sum, which the weight 1e-5 assumes; over the levels it
    is summed, over the images averaged. Cells of padding take no part.

    Horizontal and rotated boxes. The student's channels must be the teacher's: name a
    ``PyramidAligner`` as connector where they differ.

    Args:
        channels: channels of the teacher's maps, one number or one a level.
        num_levels: number of levels; may be omitted where the channels are listed.
        tau_s: cells with an attention above it are removed (III-A).
        tau_c: channels likewise (III-A).
        tau_area: boxes smaller than this, in pixels squared of the input, are removed
            (III-A).
        temperature: T of the attention; the paper gives none, FGD's 0.5.
        hidden_ratio: channels between a block's convolutions over those of the map. A
            reading, because the paper's Fig. 2 ("redesigned" from MGD's block) is lost;
            1 is MGD's block. It decides what the loss costs.
        channel_kernel: kernel of the channel branch's block, a reading for the same
            reason: 1 restores removed channels from the others of a cell; 3 is MGD's
            block as in the spatial branch, which costs nine times as much.
        loss_weight: 1e-5 in the paper (III-A).
    """

    def __init__(
        self,
        channels: Count | Sequence[Count],
        num_levels: Count | None = None,
        tau_s: float = 1.0,
        tau_c: float = 1.0,
        tau_area: NotNegative = 500.0,
        temperature: Positive = 0.5,
        hidden_ratio: Positive = 0.5,
        channel_kernel: OddCount = 1,
        loss_weight: NotNegative = 1e-5,
    ) -> None:
        super().__init__(loss_weight)
        self.tau_s, self.tau_c, self.tau_area = tau_s, tau_c, tau_area
        self.temperature = temperature
        (widths,) = channels_of_levels(num_levels, channels)
        blocks = [(width, math.ceil(width * hidden_ratio)) for width in widths]
        self.spatial_blocks = nn.ModuleList(GenerationBlock(*b) for b in blocks)
        self.channel_blocks = nn.ModuleList(
            GenerationBlock(*b, kernel_size=channel_kernel) for b in blocks
        )

    def forward(self, preds_S: Levels, preds_T: Levels, batch: BatchContext) -> Tensor:
        """Regenerate maps (N, C, H_l, W_l); the result is a scalar.

        Raises:
            ShapeError: if the shapes, or the number of levels, do not fit.
        """
        pairs = built_pairs(self, self.spatial_blocks, preds_S, preds_T)
        total = sum(self._level(i, s, t, batch) for i, (s, t) in enumerate(pairs))
        return self.loss_weight * total / batch.num_images  # type: ignore[return-value]

    def _level(self, level: int, s: Tensor, t: Tensor, batch: BatchContext) -> Tensor:
        same_shape('RegeneratedLoss', s, t)
        t = t.detach()
        keep_cells, keep_channels, _ = self.keep(t, batch)
        valid = batch.valid_cells(map_size(t))
        if valid is not None:
            s = s * valid[:, None]
        new = self.spatial_blocks[level](s * keep_cells[:, None].to(s.dtype), valid)
        keep = keep_channels[:, :, None, None].to(s.dtype)
        new = new + self.channel_blocks[level](s * keep, valid)
        if valid is None:
            new = at_least_float(new)
            return F.mse_loss(new, t.to(new.dtype), reduction='sum')
        return (squared_distance(new, t) * valid).sum()

    @torch.no_grad()
    def keep(self, t: Tensor, batch: BatchContext) -> tuple[Tensor, Tensor, Tensor]:
        """Masks of one level, false where the student's map is removed (eq. 3, 4).

        Returns:
            M_s (N, H, W) bool, M_c (N, C) bool, and the attention A_s (N, H, W).
        """
        valid = batch.valid_cells(map_size(t))
        spatial, channel = spatial_channel_attention(t, self.temperature, valid)
        small = batch.rasterize(map_size(t), (batch.areas < self.tau_area).float()) > 0
        return (spatial <= self.tau_s) & ~small, channel <= self.tau_c, spatial

    def masks(self, preds_T: Levels, batch: BatchContext) -> Maps:
        """The teacher's attention and the mask M_s."""
        levels = [self.keep(t, batch) for t, _ in level_pairs(preds_T, preds_T)]
        return {
            'attention A_s': tuple(spatial for _, _, spatial in levels),
            'mask M_s (0: regenerated)': tuple(cells.float() for cells, _, _ in levels),
        }


@MODELS.register_module()
class DecoupledLoss(DistillLoss):
    """Imitate foreground and background apart, small objects most (eq. 7, 8).

    ``L = sum over cells of w * sum over c of (F_t - F_s)^2 / N``, summed over levels,
    with ``w = alpha * W_q / S_q`` in the cells of object q (the weights of an image's
    objects sum to 1; where objects overlap the largest counts, that of the smaller
    object) and ``beta`` times the background's weight in the others.

    Objects that lie outside the image take no part, nor do cells of padding.
    Horizontal and rotated boxes.

    Args:
        alpha: weight of the foreground (III-A).
        beta: weight of the background (III-A).
        temperature: T_s of the Area-softmax (II-B).
        bias: b of the Area-softmax (II-B); it cancels.
        area_unit: unit of the areas in eq. 7. ``'relative'``: fraction of the image,
            because ``1 - x - b`` needs x in [0, 1]; with T = 20 all objects weigh
            nearly the same. ``'cell'``: cells of the level. ``'pixel'``: of the input;
            then nearly all weight goes to the smallest object.
        background: ``'mean'`` over the background cells of an image, or ``'sum'`` as
            eq. 8 prints it, which exceeds everything else some 5000-fold.
        loss_weight: 0.1 in the paper (III-A).
    """

    def __init__(
        self,
        alpha: NotNegative = 0.5,
        beta: NotNegative = 0.5,
        temperature: Positive = 20.0,
        bias: float = 0.005,
        area_unit: Literal['relative', 'cell', 'pixel'] = 'relative',
        background: Literal['mean', 'sum'] = 'mean',
        loss_weight: NotNegative = 0.1,
    ) -> None:
        super().__init__(loss_weight)
        self.alpha, self.beta = alpha, beta
        self.temperature, self.bias = temperature, bias
        self.area_unit, self.background = area_unit, background

    def forward(self, preds_S: Levels, preds_T: Levels, batch: BatchContext) -> Tensor:
        """Compare maps (N, C, H_l, W_l); the result is a scalar.

        Raises:
            ShapeError: if the shapes, or the number of levels, do not fit.
        """
        total = sum(self._level(s, t, batch) for s, t in level_pairs(preds_S, preds_T))
        return self.loss_weight * total / batch.num_images  # type: ignore[return-value]

    def _level(self, s: Tensor, t: Tensor, batch: BatchContext) -> Tensor:
        same_shape('DecoupledLoss', s, t)
        foreground, background = self.weights(map_size(t), batch)
        weight = self.alpha * foreground + self.beta * background
        return (squared_distance(s, t) * weight).sum()

    @torch.no_grad()
    def weights(
        self, feat_size: tuple[int, int], batch: BatchContext
    ) -> tuple[Tensor, Tensor]:
        """Weights of the cells of one level, without alpha and beta.

        Returns:
            W_q / S_q in the foreground and the background's weight, (N, H, W) each.
        """
        cells, valid = batch.cells(feat_size), batch.valid_cells(feat_size)
        if valid is not None:  # boxes at the border reach one cell into the padding
            cells = cells.within(valid)
        count = cells.count
        object_weights = self._object_weights(count, batch)
        foreground = cells.draw(object_weights / count.clamp(min=1))
        background = (cells.draw() == 0).float()
        if valid is not None:
            background = background * valid
        if self.background == 'mean':
            size = background.sum((1, 2), keepdim=True).clamp(min=1)
            background = background / size
        return foreground, background

    def _object_weights(self, count: Tensor, batch: BatchContext) -> Tensor:
        """Area-softmax within each image; 0 for objects without a cell, (Q,)."""
        areas = {
            'relative': lambda: batch.relative_areas,
            'pixel': lambda: batch.areas,
            'cell': lambda: count.to(batch.areas),
        }[self.area_unit]()
        image, rank = batch.image_index, batch.rank_in_image
        most = int(batch.boxes_per_image.max()) if len(areas) else 0
        padded = areas.new_full((batch.num_images, most), torch.inf)
        padded[image, rank] = areas.where(count > 0, torch.inf)
        weights = area_softmax(padded, self.temperature, self.bias)[image, rank]
        return weights.where(count > 0, 0)  # an image without any is not a number

    def masks(self, preds_T: Levels, batch: BatchContext) -> Maps:
        """Weights of foreground and background cells."""
        sizes = [map_size(t) for t, _ in level_pairs(preds_T, preds_T)]
        levels = [self.weights(size, batch) for size in sizes]
        return {
            'area weights W_q / S_q': tuple(fore for fore, _ in levels),
            'background weights': tuple(back for _, back in levels),
        }


@MODELS.register_module()
class ResponsiveLoss(DistillLoss):
    """Imitate the class scores and boxes of every prior (eq. 9, 10).

    ``L = (sum over priors and classes of focal(l_s, l_t) + sum over priors of
    (1 - EIoU)(box_t, box_s)) / N``, see :func:`soft_focal_bce` and
    :func:`efficient_iou_loss`. The paper's "PEIoU" is a misprint of the EIoU loss. All
    priors count, also those of the background, but not those of padding.

    Horizontal anchors, points and distributions (see
    :func:`aerialkd.structures.decode_boxes`). For rotated boxes the localisation term
    is ``rotated_loss``.

    Args:
        gamma: of the focal loss; 2 is the paper's reference, 1 is BCKD.
        loc_weight: weight of a prior in the localisation: None counts all alike,
            ``'disparity'`` by the largest |p_t - p_s| over its classes (BCKD).
        rotated_loss: loss of rotated boxes (n, 5), with ``reduction='none'``.
        loss_weight: 1e-5 in the paper (III-A).
    """

    def __init__(
        self,
        gamma: Exponent = 2.0,
        loc_weight: Literal['disparity'] | None = None,
        rotated_loss: dict | None = None,
        loss_weight: NotNegative = 1e-5,
    ) -> None:
        super().__init__(loss_weight)
        self.gamma, self.loc_weight = gamma, loc_weight
        self.rotated_loss = ALL_MODELS.build(
            rotated_loss or dict(type='mmrotate.GDLoss', loss_type='kld', tau=1.0)
        )

    def forward(self, preds_S: Any, preds_T: Any, batch: BatchContext) -> Tensor:
        """Compare the outputs of two dense heads; the result is a scalar.

        Args:
            preds_S: the student's ``(cls_scores, bbox_preds, ...)``, each a tuple of
                levels (N, A * K, H_l, W_l) and (N, A * D, H_l, W_l).
            preds_T: the teacher's, with the same priors and classes.
            batch: decodes them.

        Raises:
            ShapeError: if priors differ in number.
            ConfigError: if both heads have other priors or classes, or one is not
                served.
        """
        classes, boxes = self.terms(preds_S, preds_T, batch)
        total = sum(level.sum() for level in classes) + boxes.sum()
        return self.loss_weight * total / batch.num_images

    def terms(
        self, preds_S: Any, preds_T: Any, batch: BatchContext
    ) -> tuple[list[Tensor], Tensor]:
        """Both terms: of the classes (N, H_l, W_l), of the boxes of priors (N, L)."""
        self._check_heads(batch)
        # The logits stay maps: to list them by prior would copy them for nothing.
        classes = [
            self._classification(s, t, batch)
            for s, t in level_pairs(preds_S[0], preds_T[0])
        ]
        return classes, self._boxes(preds_S, preds_T, batch)

    def _check_heads(self, batch: BatchContext) -> None:
        """Refuse heads whose scores and boxes are not those of the same priors."""
        name = type(self).__name__
        batch.require_same_priors(name, coder=False)  # decoded, they compare
        batch.require_sigmoid(name)
        batch.require_same_classes(name)

    def _boxes(self, preds_S: Any, preds_T: Any, batch: BatchContext) -> Tensor:
        """Weighted localisation of every prior, (N, L)."""
        boxes_S = batch.decoded_boxes(preds_S[1], of_student=True)
        boxes_T = batch.decoded_boxes(preds_T[1], of_student=False)
        name = f'{type(self).__name__}, boxes of all priors'
        same_shape(name, boxes_S, boxes_T)
        boxes = self._localisation(boxes_S.flatten(0, 1), boxes_T.flatten(0, 1))
        boxes = boxes.view(boxes_S.shape[:2])
        if self.loc_weight == 'disparity':
            logits = (batch.flat_logits(preds[0]) for preds in (preds_S, preds_T))
            boxes = boxes * _disparity(*logits)
        valid = batch.valid_priors(preds_S[0], boxes.shape[1])
        return boxes if valid is None else boxes * valid

    def _classification(self, s: Tensor, t: Tensor, batch: BatchContext) -> Tensor:
        same_shape('ResponsiveLoss, class scores', s, t)
        loss = soft_focal_bce(s, t, self.gamma).sum(1)
        valid = batch.valid_cells(map_size(s))
        return loss if valid is None else loss * valid

    def _localisation(self, boxes_S: Tensor, boxes_T: Tensor) -> Tensor:
        if boxes_S.shape[-1] == 4:
            return efficient_iou_loss(boxes_S, boxes_T)
        return distance_of_rotated(self.rotated_loss, boxes_S, boxes_T)

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Any, preds_T: Any, batch: BatchContext | None = None
    ) -> Maps:
        """Each cell's share of both terms, summed over its priors."""
        if batch is None:
            return {}
        classes, boxes = self.terms(preds_S, preds_T, batch)
        sizes = [map_size(level) for level in preds_S[0]]
        return {'class loss': tuple(classes), 'box loss': sums_of_cells(boxes, sizes)}


@torch.no_grad()
def _disparity(logits_S: Tensor, logits_T: Tensor) -> Tensor:
    """Largest difference of a prior's class probabilities, (N, L, K) x2 -> (N, L)."""
    s, t = at_least_float(logits_S), at_least_float(logits_T)
    return probability_difference(s, t).abs().amax(-1)
