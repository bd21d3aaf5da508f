"""LD: distributions of box sides, at positives and beside them (Zheng et al. 2022).

"Localization Distillation for Dense Object Detection", CVPR 2022; for rotated boxes
"Localization Distillation for Object Detection", TPAMI 2023.

==================================  ================================================
paper                               here
==================================  ================================================
L_LD, tau                           ``localization_kd``, ``tau``
main distillation region            the student's positives
valuable localisation region (VLR)  :func:`aerialkd.structures.valuable_region`
gamma (algorithm 1)                 ``gamma``
alpha_pos (algorithm 1)             :func:`aerialkd.structures.atss_thresholds`
lambda of main LD, VLR LD, KD       ``loss_weight``, ``vlr_weight``, ``cls_weight``
selective region distillation       ``cls_region``
==================================  ================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from aerialkd.arguments import BelowOne, Count, NotNegative, Positive
from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.base import DistillLoss, Maps, level_pairs, map_size
from aerialkd.losses.functional import localization_kd
from aerialkd.losses.functional.checks import same_shape
from aerialkd.registry import MODELS
from aerialkd.structures import (
    BatchContext,
    PriorGrid,
    select_priors,
    select_values,
    sums_of_cells,
    valuable_region,
)
from aerialkd.structures.normaliser import averaged_count


class _Term(NamedTuple):
    """A part of the loss.

    Attributes:
        name: for pictures.
        factor: its weight in the loss.
        chosen: the priors that it compares, (N, L) bool.
        losses: of those, in the order of ``select_priors``, (P,).
        weights: theirs, (P,).
    """

    name: str
    factor: float
    chosen: Tensor
    losses: Tensor
    weights: Tensor


@MODELS.register_module()
class LDLoss(DistillLoss):
    """Imitate the distributions that a teacher predicts for the sides of a box.

    The sum of three weighted means over priors, each over the batches of all processes:

    - main: over the student's positives, of :func:`localization_kd`, mean of a prior's
      sides; weights are the student's largest class probability, without gradient;
    - VLR: the same over the priors beside the positives that still overlap an object,
      see :func:`aerialkd.structures.valuable_region`; weights are that IoU, as in the
      official code. Positives of any object and cells of padding are not in it;
    - class: over the positives, the same divergence of the class logits (softmax over
      the classes, mean over them), weights are 1. The paper found the region of no use
      to it; ``cls_region`` adds it.

    The official code adds main and VLR terms up without dividing them by their weights,
    so that they grow with the objects. Where the weights sum to less than 1 they are
    divided by 1, as GFL's own box loss is.

    Serves heads with distributions: GFL, YOLOv8 and, for rotated boxes,
    ``DistributionRotatedRetinaHead``. Both heads must have the same priors and bins.

    Args:
        tau: temperature of the box distributions; 10 in the paper.
        gamma: where the region begins, as a fraction of an object's ATSS threshold; .25
            in the official code.
        topk: candidates of each level for that threshold; 9 in ATSS.
        point_scale: heads of points have no priors with a size: squares of this
            multiple of the stride stand for them in the region; ATSS and GFL have 8.
        tau_cls: temperature of the classes; 2 in the official code.
        cls_region: priors whose classes are compared: ``'main'``, or ``'both'`` the
            positives and the region.
        loss_weight: of the main term; 0 leaves it out, as it does with the next two.
        vlr_weight: of the region's term.
        cls_weight: of the class term. A detector of one class has nothing to learn
            from it and is refused.
    """

    def __init__(
        self,
        tau: Positive = 10.0,
        gamma: BelowOne = 0.25,
        topk: Count = 9,
        point_scale: Positive = 8.0,
        tau_cls: Positive = 2.0,
        cls_region: Literal['main', 'both'] = 'main',
        loss_weight: NotNegative = 0.25,
        vlr_weight: NotNegative = 0.25,
        cls_weight: NotNegative = 10.0,
    ) -> None:
        super().__init__(loss_weight)
        if not loss_weight + vlr_weight + cls_weight:
            raise ConfigError(
                'LDLoss: got loss_weight, vlr_weight and cls_weight of 0, expected one '
                'of them above 0.'
            )
        self.tau, self.tau_cls = tau, tau_cls
        self.gamma, self.topk, self.point_scale = gamma, topk, point_scale
        self.vlr_weight, self.cls_weight = vlr_weight, cls_weight
        self.cls_region = cls_region

    def forward(self, preds_S: Any, preds_T: Any, batch: BatchContext) -> Tensor:
        """Compare the outputs of two dense heads; the result is a scalar.

        Args:
            preds_S: the student's ``(cls_scores, bbox_dists, ...)``, each a tuple of
                levels (N, A * K, H_l, W_l) and (N, A * sides * bins, H_l, W_l).
            preds_T: the teacher's, with the same priors, bins and classes.
            batch: knows the student's assigned targets and priors.

        Raises:
            ShapeError: if priors, classes or bins differ in number.
            ConfigError: if a head has no distributions, or both do not fit.
            RecordError: if the student assigned no targets.
        """
        terms = list(self.terms(preds_S, preds_T, batch))
        totals = averaged_count(torch.stack([term.weights.sum() for term in terms]))
        # Without any prior, the sum of nothing: 0, and attached to the graph.
        sums = [term.factor * (term.losses * term.weights).sum() for term in terms]
        return (torch.stack(sums) / totals).sum()

    def terms(self, preds_S: Any, preds_T: Any, batch: BatchContext) -> Iterator[_Term]:
        """The parts of the loss that have a weight; see the class."""
        bins = self._check(preds_S, preds_T, batch)
        (logits_S, dists_S, *_), (logits_T, dists_T, *_) = preds_S, preds_T
        classes = batch.class_channels
        sides = batch.boxes.shape[-1] * len(bins)
        main = self._main(logits_S, batch)
        region = main.new_zeros(main.shape, dtype=torch.float32)
        if self.vlr_weight or self.cls_region == 'both':
            region = self.region(preds_S, batch)
        if self.loss_weight:
            losses = self._of_sides(dists_S, dists_T, sides, main, len(bins))
            scores = select_priors(logits_S, classes, main).detach().float().sigmoid()
            yield _Term('main', self.loss_weight, main, losses, scores.amax(-1))
        if self.vlr_weight:
            inside = region > 0
            losses = self._of_sides(dists_S, dists_T, sides, inside, len(bins))
            ious = select_values(region, logits_S, classes, inside)
            yield _Term('VLR', self.vlr_weight, inside, losses, ious)
        if self.cls_weight:
            chosen = main if self.cls_region == 'main' else main | (region > 0)
            s, t = (select_priors(x, classes, chosen) for x in (logits_S, logits_T))
            losses = localization_kd(s, t, self.tau_cls)
            ones = torch.ones_like(losses)
            yield _Term('class', self.cls_weight, chosen, losses, ones)

    @torch.no_grad()
    def region(self, preds: Any, batch: BatchContext) -> Tensor:
        """IoU of the priors in the valuable region, 0 of the others, (N, L)."""
        region = valuable_region(
            batch.boxes,
            batch.image_index,
            batch.num_images,
            self._grids(preds, batch),
            self.gamma,
            self.topk,
        )
        valid = batch.valid_priors(preds[0], region.shape[1])
        region = region if valid is None else region * valid
        return region.masked_fill(self._main(preds[0], batch), 0)

    def masks(self, preds_T: Any, batch: BatchContext) -> Maps:
        """Positives of each cell, and the IoUs of the valuable region."""
        sizes = [map_size(level) for level in preds_T[0]]
        main = batch.assigned.positive.float()
        region = self.region(preds_T, batch)
        return {
            'positive priors': sums_of_cells(main, sizes),
            'valuable region (IoU)': sums_of_cells(region, sizes),
        }

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Any, preds_T: Any, batch: BatchContext | None = None
    ) -> Maps:
        """Each cell's share of the three terms before the division, by prior summed."""
        if batch is None:
            return {}
        sizes = [map_size(level) for level in preds_S[0]]
        maps = {}
        for term in self.terms(preds_S, preds_T, batch):
            chosen, classes = term.chosen, batch.class_channels
            numbers = torch.arange(chosen.numel(), device=chosen.device).view_as(chosen)
            places = select_values(numbers, preds_S[0], classes, chosen)
            values = torch.zeros_like(chosen, dtype=torch.float32)
            values.view(-1)[places] = term.factor * term.losses * term.weights
            maps[f'{term.name} loss'] = sums_of_cells(values, sizes)
        return maps

    def _of_sides(
        self, dists_S: Any, dists_T: Any, channels: int, chosen: Tensor, bins: int
    ) -> Tensor:
        """Mean divergence of a prior's sides, (P,)."""
        s, t = (
            select_priors(x, channels, chosen).view(-1, bins)
            for x in (dists_S, dists_T)
        )
        return localization_kd(s, t, self.tau).view(-1, channels // bins).mean(1)

    def _check(self, preds_S: Any, preds_T: Any, batch: BatchContext) -> Tensor:
        name = type(self).__name__
        bins = batch.require_same_bins(name)
        batch.require_same_priors(name)
        batch.require_sigmoid(name)
        batch.require_same_classes(name)
        if self.cls_weight and batch.class_channels < 2:
            raise ConfigError(
                f'{name}: got one class, expected at least two: a softmax over one '
                'class is always 1, and its loss always 0. Set cls_weight=0.'
            )
        for s, t in (
            pair
            for part in (0, 1)
            for pair in level_pairs(preds_S[part], preds_T[part])
        ):
            same_shape(name, s, t)
        return bins

    def _main(self, logits: Any, batch: BatchContext) -> Tensor:
        """The student's positives, (N, L) bool."""
        main = batch.assigned.positive
        number = sum(level[0].numel() for level in logits) // batch.class_channels
        if main.shape[1] != number:
            raise ShapeError(
                f'{type(self).__name__}: got class scores of {number} priors, expected '
                f'those of the {main.shape[1]} that were assigned. Record the whole '
                "head (type='HeadOutputs'), all levels of it."
            )
        return main

    def _grids(self, preds: Any, batch: BatchContext) -> list[PriorGrid]:
        """The priors of each level; squares in the place of points."""
        generator = batch.prior_generator
        grids: list[PriorGrid] = []
        for level, stride in zip(preds[0], generator.strides, strict=True):
            if hasattr(generator, 'base_anchors'):
                anchors = generator.base_anchors[len(grids)]
            else:
                steps = torch.tensor([float(step) for step in stride])
                centre, half = generator.offset * steps, self.point_scale * steps / 2
                anchors = torch.cat([centre - half, centre + half])[None]
            anchors = anchors.to(batch.boxes.device)
            grids.append(PriorGrid(anchors, tuple(stride), map_size(level)))
        return grids
