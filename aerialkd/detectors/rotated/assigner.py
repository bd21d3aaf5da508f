"""Assignment by the largest IoU that never holds a matrix of priors times objects."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.assigners import MaxIoUAssigner as _Dense
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from aerialkd.detectors.rotated.overlaps import OverlappingPairs
from aerialkd.registry import TASK_UTILS


@TASK_UTILS.register_module()
class MaxIoUAssigner(_Dense):
    """As ``mmdet.MaxIoUAssigner``, from the pairs that overlap.

    Assigns the same targets. Time and memory follow the number of overlapping pairs:
    a tile of 1024 pixels has 196 000 priors, and with 1000 objects mmdet's matrix
    takes 790 MB and a loop over the objects.

    Args:
        args: as for ``mmdet.MaxIoUAssigner``.
        kwargs: likewise. With an ``iou_calculator`` that cannot list pairs, or with
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
            self.iou_calculator, 'pairs'
        ):
            return super().assign(
                pred_instances, gt_instances, gt_instances_ignore, **kwargs
            )
        priors = get_box_tensor(pred_instances.priors)
        boxes, labels = get_box_tensor(gt_instances.bboxes), gt_instances.labels
        device = priors.device
        if 0 < self.gpu_assign_thr < len(boxes):
            priors, boxes, labels = priors.cpu(), boxes.cpu(), labels.cpu()
        ignored = priors.new_zeros(len(priors), dtype=torch.bool)
        if gt_instances_ignore is not None and self.ignore_iof_thr > 0:
            ignored = self._ignored(priors, gt_instances_ignore.bboxes)
        pairs = self.iou_calculator.pairs(boxes, priors)
        result = self._assign_pairs(pairs, labels, ignored)
        result.gt_inds = result.gt_inds.to(device)
        result.max_overlaps = result.max_overlaps.to(device)
        result.labels = result.labels.to(device)
        return result

    def _ignored(self, priors: Tensor, regions: Any) -> Tensor:
        """Priors that lie in ignored boxes, (n,) bool."""
        regions = get_box_tensor(regions).to(priors.device)
        inside = priors.new_zeros(len(priors))
        if self.ignore_wrt_candidates:
            pairs = self.iou_calculator.pairs(priors, regions, mode='iof')
            prior = pairs.first
        else:
            pairs = self.iou_calculator.pairs(regions, priors, mode='iof')
            prior = pairs.second
        inside.scatter_reduce_(0, prior, pairs.overlaps, 'amax')
        return inside > self.ignore_iof_thr

    def _assign_pairs(
        self, pairs: OverlappingPairs, labels: Tensor, ignored: Tensor
    ) -> AssignResult:
        k, n = len(labels), len(ignored)
        gt, prior, overlaps = pairs
        counts = ~ignored[prior]
        gt, prior, overlaps = gt[counts], prior[counts], overlaps[counts]
        best = overlaps.new_zeros(n).scatter_reduce_(0, prior, overlaps, 'amax')
        best[ignored] = -1
        assigned = labels.new_full((n,), -1, dtype=torch.long)
        if k == 0 or n == 0:
            assigned[:] = 0 if k == 0 else -1
            none = labels.new_full((n,), -1, dtype=torch.long)
            return AssignResult(k, assigned, best.clamp(min=0), none)
        low, high = (
            self.neg_iou_thr
            if isinstance(self.neg_iou_thr, tuple)
            else (0, self.neg_iou_thr)
        )
        assigned[(best >= low) & (best < high)] = 0

        positive = best >= self.pos_iou_thr
        # Of several objects that overlap a prior alike, the first, as mmdet takes it.
        mine = (overlaps > 0) & (overlaps == best[prior]) & positive[prior]
        owner = torch.full_like(assigned, k)
        owner.scatter_reduce_(0, prior[mine], gt[mine], 'amin')
        owner[owner == k] = 0  # without any overlap, where pos_iou_thr allows that
        assigned[positive] = owner[positive] + 1
        if self.match_low_quality:
            claimed = self._low_quality(gt, prior, overlaps, k, ignored)
            assigned = torch.where(claimed > 0, claimed, assigned)
        classes = torch.full_like(assigned, -1)
        taken = assigned > 0
        classes[taken] = labels[assigned[taken] - 1]
        return AssignResult(k, assigned, best, classes)

    def _low_quality(
        self, gt: Tensor, prior: Tensor, overlaps: Tensor, k: int, ignored: Tensor
    ) -> Tensor:
        """1 + the object that claims a prior as its best one, else 0, (n,).

        Of several objects that claim a prior the last has it, as in mmdet's loop.
        """
        start = -1.0 if bool(ignored.all()) else 0.0
        most = overlaps.new_full((k,), start)
        most.scatter_reduce_(0, gt, overlaps, 'amax')
        claims = (overlaps == most[gt]) & (most[gt] >= self.min_pos_iou)
        claims &= overlaps > 0
        gt, prior = gt[claims], prior[claims]
        if not self.gt_max_assign_all:
            first = torch.full_like(most, len(ignored), dtype=torch.long)
            first.scatter_reduce_(0, gt, prior, 'amin')
            keep = prior == first[gt]
            gt, prior = gt[keep], prior[keep]
        claimed = torch.zeros_like(ignored, dtype=torch.long)
        claimed.scatter_reduce_(0, prior, gt + 1, 'amax')
        nowhere = (most == 0) & (most >= self.min_pos_iou)
        if nowhere.any():
            # An object without any overlap is best matched, with 0, by every prior:
            # mmdet's rule where min_pos_iou is 0, kept so that targets are equal.
            last = int(nowhere.nonzero().max()) + 1
            if self.gt_max_assign_all:
                claimed[~ignored] = claimed[~ignored].clamp(min=last)
            else:
                where = int((~ignored).nonzero()[0])
                claimed[where] = claimed[where].clamp(min=last)
        return claimed
