"""Losses on the outputs of dense heads, prior by prior."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from aerialkd.arguments import NotNegative
from aerialkd.errors import ConfigError
from aerialkd.losses.base import DistillLoss, Maps, map_size
from aerialkd.losses.functional.checks import same_shape
from aerialkd.structures import BatchContext, averaged_count, sums_of_cells


class HeadLoss(DistillLoss):
    """A distance of two dense heads' outputs at the positives, or at all priors.

    The sum over the priors is divided by the normaliser of the student's task loss:
    the number of its positives, averaged over processes. Student and teacher must have
    the same priors, and the same coder where deltas are compared.

    Args:
        positions: ``'positive'``: the priors that the student's own assignment gave an
            object. ``'all'``: every prior but those of padding; their sum is divided by
            the same normaliser, as that of the focal loss is, and the background's
            priors are a thousand times as many: lower ``loss_weight``.
        loss_weight: 1 in the paper's sum (eq. 1), as it gives no other.
    """

    def __init__(
        self, positions: Literal['positive', 'all'], loss_weight: NotNegative
    ) -> None:
        super().__init__(loss_weight)
        self.positions = positions

    def forward(self, preds_S: Any, preds_T: Any, batch: BatchContext) -> Tensor:
        """Compare the outputs of two dense heads; the result is a scalar.

        Args:
            preds_S: the student's ``(cls_scores, bbox_preds, ...)``, each a tuple of
                levels (N, A * K, H_l, W_l) and (N, A * D, H_l, W_l).
            preds_T: the teacher's, with the same priors and classes.
            batch: knows the student's assigned targets.

        Raises:
            ShapeError: if priors or deltas differ in number.
            ConfigError: if both heads have other priors, coders or classes, or no box
                deltas to compare.
            RecordError: if the student assigned no targets.
        """
        name = type(self).__name__
        self._check_heads(batch)
        s, t = (self._flat(preds, batch) for preds in (preds_S, preds_T))
        same_shape(name, s, t)
        chosen = self._chosen(preds_S, s, batch)
        # Without any, the sum of nothing: 0, and attached to the graph.
        total = self._of_chosen(s, t, chosen, batch).sum()
        return self.loss_weight * total / self._normaliser(chosen, batch)

    def masks(self, preds_T: Any, batch: BatchContext) -> Maps:
        """How many priors of each cell are compared."""
        chosen = self._chosen(preds_T, self._flat(preds_T, batch), batch)
        return {
            f'{self.positions} priors': sums_of_cells(
                chosen.float(), [map_size(x) for x in preds_T[0]]
            )
        }

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Any, preds_T: Any, batch: BatchContext | None = None
    ) -> Maps:
        """Each cell's share of the loss, summed over its priors."""
        if batch is None:
            return {}
        s, t = (self._flat(preds, batch) for preds in (preds_S, preds_T))
        chosen = self._chosen(preds_S, s, batch)
        loss = s.new_zeros(chosen.shape, dtype=torch.float32)
        of_prior = self._of_chosen(s, t, chosen, batch)
        loss[chosen] = of_prior.sum(-1) if of_prior.ndim > 1 else of_prior
        return {'loss': sums_of_cells(loss, [map_size(x) for x in preds_S[0]])}

    def _check_heads(self, batch: BatchContext) -> None:
        """Refuse heads whose outputs do not mean the same."""
        batch.require_same_priors(type(self).__name__)

    def _chosen(self, preds: Any, flat: Tensor, batch: BatchContext) -> Tensor:
        """Priors that are compared, (N, L) bool."""
        if self.positions == 'positive':
            return batch.assigned.positive
        every = torch.ones(flat.shape[:2], dtype=torch.bool, device=flat.device)
        valid = batch.valid_priors(preds[0], flat.shape[1])
        return every if valid is None else valid

    def _of_chosen(
        self, s: Tensor, t: Tensor, chosen: Tensor, batch: BatchContext
    ) -> Tensor:
        labels = batch.assigned.labels[chosen]
        return self._distance(s[chosen], t[chosen], labels)

    def _normaliser(self, chosen: Tensor, batch: BatchContext) -> Tensor:
        """What the sum over the priors is divided by."""
        return batch.assigned.avg_factor

    def _flat(self, preds: Any, batch: BatchContext) -> Tensor:
        """What is compared, by prior, (N, L, C)."""
        raise NotImplementedError

    def _distance(self, s: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Of the chosen priors and their classes, (n, C) x2, (n,) -> (n,) or (n, C)."""
        raise NotImplementedError


class ClassHeadLoss(HeadLoss):
    """A distance of the class logits of dense heads.

    The distributions are a softmax over the class logits, also of heads that are
    trained with a sigmoid for each class, as RetinaNet's is: which class, not whether
    there is an object. A detector of one class has nothing to learn and is refused.
    """

    def _check_heads(self, batch: BatchContext) -> None:
        super()._check_heads(batch)
        batch.require_same_classes(type(self).__name__)

    def _flat(self, preds: Any, batch: BatchContext) -> Tensor:
        logits = batch.flat_logits(preds[0])
        if logits.shape[-1] < 2:
            raise ConfigError(
                f'{type(self).__name__}: got one class, expected at least two: a '
                'softmax over one class is always 1, and there is nothing to learn. '
                'Leave it out with model.distiller.only, or distil features or boxes.'
            )
        return logits


class LabelledHeadLoss(ClassHeadLoss):
    """A loss of image classifiers, at the priors of objects.

    The samples are the priors that the student's own assignment gave an object, their
    labels its class; background never is one. The sum over them is divided by their
    number, averaged over the processes: :func:`averaged_count`. Horizontal and rotated
    boxes.
    """

    def __init__(self, loss_weight: NotNegative) -> None:
        super().__init__('positive', loss_weight)

    def _normaliser(self, chosen: Tensor, batch: BatchContext) -> Tensor:
        return averaged_count(chosen.sum())
