"""Assignment by the largest IoU that never holds a matrix of priors times objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.assigners import MaxIoUAssigner as _Dense
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from aerialkd.registry import TASK_UTILS


@TASK_UTILS.register_module()
class MaxIoUAssigner(_Dense):
    """As ``mmdet.MaxIoUAssigner``, from the pairs that overlap.

    Assigns the same targets. The exact IoU is computed only where it can decide
    something: for pairs whose areas and circumscribed boxes allow an IoU of
    ``neg_iou_thr``, and for the pairs of objects that reach no such IoU. Time and
    memory follow the number of overlapping pairs: a tile of 1024 pixels has 196 000
    priors, and with 1000 objects mmdet's matrix takes 790 MB and a loop over them.

    Args:
        args: as for ``mmdet.MaxIoUAssigner``.
        kwargs: likewise. With an ``iou_calculator`` other than
            :class:`aerialkd.detectors.RBboxOverlaps2D`, or with
            ``perm_repeat_gt_cfg``, this is mmdet's assigner.
    """

    # What to name in a config that has to do without this package.
    equivalent = 'mmdet.MaxIoUAssigner'

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign an object, or the background, to every prior.

        Args:
            pred_instances: with ``priors``, (n, 5).
            gt_instances: with ``bboxes``, (k, 5), and ``labels``, (k,).
            gt_instances_ignore: with ``bboxes`` that take no part; see
                ``ignore_iof_thr``.
            kwargs: not used, as in mmdet.

        Returns:
            For each prior -1 (takes no part), 0 (background) or 1 + its object.
        """
        if self.perm_repeat_gt_cfg is not None or not hasattr(
            self.iou_calculator, 'candidates'
        ):
            return super().assign(
                pred_instances, gt_instances, gt_instances_ignore, **kwargs
            )
        priors = get_box_tensor(pred_instances.priors)
        boxes, labels = get_box_tensor(gt_instances.bboxes), gt_instances.labels
        device = priors.device
        if 0 < self.gpu_assign_thr < len(boxes):
            priors, boxes, labels = priors.cpu(), boxes.cpu(), labels.cpu()
        counts = torch.ones(len(priors), dtype=torch.bool, device=priors.device)
        if gt_instances_ignore is not None and self.ignore_iof_thr > 0:
            counts = ~self._ignored(priors, gt_instances_ignore.bboxes)
        pairs = _Pairs(self.iou_calculator, boxes, priors, counts)
        assigned = self._assigned(pairs, len(boxes), counts)
        classes = torch.full_like(assigned, -1)
        taken = assigned > 0
        classes[taken] = labels[assigned[taken] - 1]
        return _AssignResult(
            len(boxes),
            assigned.to(device),
            lambda: _largest(pairs, counts, len(boxes)).to(device),
            classes.to(device),
        )

    def _ignored(self, priors: Tensor, regions: Any) -> Tensor:
        """Priors that lie in ignored boxes, (n,) bool."""
        regions = get_box_tensor(regions).to(priors.device)
        if self.ignore_wrt_candidates:
            pairs = self.iou_calculator.pairs(priors, regions, mode='iof')
            prior = pairs.first
        else:
            pairs = self.iou_calculator.pairs(regions, priors, mode='iof')
            prior = pairs.second
        inside = priors.new_zeros(len(priors))
        inside.scatter_reduce_(0, prior, pairs.overlaps, 'amax')
        return inside > self.ignore_iof_thr

    def _assigned(self, pairs: _Pairs, k: int, counts: Tensor) -> Tensor:
        """-1, 0 or 1 + object for each prior, (n,)."""
        assigned = torch.full_like(counts, -1, dtype=torch.long)
        if k == 0:
            return assigned.zero_()  # ignored ones too, as in mmdet
        low, high = (
            self.neg_iou_thr
            if isinstance(self.neg_iou_thr, tuple)
            else (0.0, self.neg_iou_thr)
        )
        # Below, it does not matter how large the IoU is.
        pairs.compute(pairs.bound >= min(low or high, self.pos_iou_thr))
        best = pairs.best_of_priors(counts)
        assigned[(best >= low) & (best < high)] = 0

        positive = best >= self.pos_iou_thr
        # Of several objects that overlap a prior alike, the first, as mmdet takes it.
        mine = (pairs.overlaps > 0) & (pairs.overlaps == best[pairs.prior])
        owner = torch.full_like(assigned, k)
        owner.scatter_reduce_(0, pairs.prior[mine], pairs.gt[mine], 'amin')
        owner[owner == k] = 0  # without any overlap, where pos_iou_thr allows that
        assigned[positive] = owner[positive] + 1
        if self.match_low_quality:
            claimed = self._low_quality(pairs, k, counts)
            assigned = torch.where(claimed > 0, claimed, assigned)
        return assigned

    def _low_quality(self, pairs: _Pairs, k: int, counts: Tensor) -> Tensor:
        """1 + the object that claims a prior as its best one, else 0, (n,).

        Of several objects that claim a prior the last has it, as in mmdet's loop.
        """
        most = pairs.best_of_objects(k, counts)
        pairs.compute(pairs.bound >= most[pairs.gt].clamp(min=self.min_pos_iou))
        most = pairs.best_of_objects(k, counts)
        claims = (pairs.overlaps == most[pairs.gt]) & (pairs.overlaps > 0)
        claims &= pairs.overlaps >= self.min_pos_iou
        gt, prior = pairs.gt[claims], pairs.prior[claims]
        if not self.gt_max_assign_all:
            first = torch.full_like(most, len(counts), dtype=torch.long)
            first.scatter_reduce_(0, gt, prior, 'amin')
            keep = prior == first[gt]
            gt, prior = gt[keep], prior[keep]
        claimed = torch.zeros_like(counts, dtype=torch.long)
        claimed.scatter_reduce_(0, prior, gt + 1, 'amax')
        nowhere = (most == 0) & (most >= self.min_pos_iou)
        if nowhere.any():
            # An object without any overlap is best matched, with 0, by every prior:
            # mmdet's rule where min_pos_iou is 0, kept so that targets are equal.
            last = int(nowhere.nonzero().max()) + 1
            where = counts if self.gt_max_assign_all else counts.nonzero()[0]
            claimed[where] = claimed[where].clamp(min=last)
        return claimed


class _Pairs:
    """Pairs of objects and priors, with as many exact overlaps as were asked for.

    Attributes:
        gt: index of the object, (P,).
        prior: index of the prior, (P,).
        bound: an IoU that is not exceeded, (P,).
        overlaps: IoU, (P,); 0 where it was not computed.
    """

    def __init__(
        self, calculator: Any, boxes: Tensor, priors: Tensor, counts: Tensor
    ) -> None:
        gt, prior, bound = calculator.candidates(boxes, priors)
        kept = counts[prior]
        self.gt, self.prior, self.bound = gt[kept], prior[kept], bound[kept]
        self.overlaps = torch.zeros_like(self.bound)
        self._open = torch.ones_like(self.gt, dtype=torch.bool)
        self._calculator, self._boxes, self._priors = calculator, boxes, priors

    def compute(self, wanted: Tensor) -> None:
        """Compute the overlaps of the wanted pairs, (P,) bool, that are not there."""
        index = (wanted & self._open).nonzero()[:, 0]
        boxes, priors = self._boxes[self.gt[index]], self._priors[self.prior[index]]
        self.overlaps[index] = self._calculator(boxes, priors, is_aligned=True)
        self._open[index] = False

    def best_of_priors(self, counts: Tensor) -> Tensor:
        """Largest overlap of each prior as far as known; -1 of those ignored, (n,)."""
        best = self.overlaps.new_zeros(len(counts))
        best.scatter_reduce_(0, self.prior, self.overlaps, 'amax')
        return best.where(counts, -1)

    def best_of_objects(self, k: int, counts: Tensor) -> Tensor:
        """Largest overlap of each object as far as known; -1 without priors, (k,)."""
        best = self.overlaps.new_full((k,), 0.0 if counts.any() else -1.0)
        return best.scatter_reduce_(0, self.gt, self.overlaps, 'amax')


class _AssignResult(AssignResult):
    """mmdet's, with ``max_overlaps`` computed in full when they are asked for."""

    _max_overlaps: Callable[[], Tensor] | Tensor

    def __init__(
        self,
        num_gts: int,
        gt_inds: Tensor,
        max_overlaps: Callable[[], Tensor] | Tensor,
        labels: Tensor,
    ) -> None:
        super().__init__(num_gts, gt_inds, max_overlaps, labels)

    @property
    def max_overlaps(self) -> Tensor:
        """Largest IoU of each prior, (n,)."""
        if not isinstance(self._max_overlaps, Tensor):
            self._max_overlaps = self._max_overlaps()
        return self._max_overlaps

    @max_overlaps.setter
    def max_overlaps(self, value: Callable[[], Tensor] | Tensor) -> None:
        self._max_overlaps = value


def _largest(pairs: _Pairs, counts: Tensor, k: int) -> Tensor:
    pairs.compute(torch.ones_like(pairs.gt, dtype=torch.bool))
    return pairs.best_of_priors(counts).clamp(min=-1 if k else 0)
