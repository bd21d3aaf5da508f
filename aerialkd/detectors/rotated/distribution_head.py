"""Rotated RetinaNet whose head predicts a distribution for each coordinate of a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes
from torch import Tensor

from aerialkd.errors import ConfigError
from aerialkd.registry import MODELS
from aerialkd.structures import averaged_count, select_priors
from aerialkd.structures.dense_head import flatten_levels

_DFL = dict(type='mmdet.DistributionFocalLoss', loss_weight=0.25)


@MODELS.register_module()
class DistributionRotatedRetinaHead(RetinaHead):
    """RetinaNet's head for rotated boxes with a distribution for each encoded delta.

    Each delta (dx, dy, dw, dh, angle; in units of the coder) is the expectation of a
    softmax over ``intervals + 1`` bins, spaced evenly over ``bin_range``. Boxes are
    decoded from the expectations, as RetinaNet's from its deltas. The distributions
    are what LD compares ("Localization Distillation for Object Detection", Zheng et
    al., TPAMI 2023, which distils rotated boxes so); its paper leaves range and number
    of the bins to the code.

    The loss is RetinaNet's and, at the positives, a distribution focal loss (Li et al.
    2020), mean of the five deltas. Deltas beyond the range are drawn to its end there.
    All are divided by the number of positives averaged over processes, but for
    ``mmrotate.GDLoss_v1``, which takes the mean of a process's own positives.

    Args:
        args: as for ``mmdet.RetinaHead``.
        intervals: between the bins, one less than bins; 16 as in GFL.
        bin_range: first and last bin. Deltas of matched anchors are mostly within one:
            a side e times the anchor's is at 1. With 2, tiny objects that only
            RetinaNet's rule for the best anchor matches are within, too: a seventh of
            the anchor's side. Symmetric: an untrained head predicts its anchors.
        loss_dfl: loss of the distributions.
        kwargs: as for ``mmdet.RetinaHead``; ``bbox_coder`` for boxes of five columns.

    Attributes:
        box_bins: the bins, (intervals + 1,).
    """

    box_bins: Tensor

    def __init__(
        self,
        *args: Any,
        intervals: int = 16,
        bin_range: tuple[float, float] = (-2.0, 2.0),
        loss_dfl: dict | None = None,
        **kwargs: Any,
    ) -> None:
        low, high = bin_range
        if intervals < 1 or not low < high:
            raise ConfigError(
                f'DistributionRotatedRetinaHead: got intervals={intervals} over '
                f'bin_range={tuple(bin_range)}, expected at least 1 over a range.'
            )
        self.intervals = intervals
        super().__init__(*args, **kwargs)
        if self.bbox_coder.encode_size != 5:
            raise ConfigError(
                'DistributionRotatedRetinaHead.bbox_coder: got '
                f'{type(self.bbox_coder).__name__}, expected one of rotated boxes, '
                'mmrotate.DeltaXYWHTRBBoxCoder; GFL does it for horizontal ones.'
            )
        # Not in checkpoints: the config says what a model's outputs mean.
        bins = torch.linspace(low, high, intervals + 1)
        self.register_buffer('box_bins', bins, persistent=False)
        self.loss_dfl = MODELS.build(loss_dfl or _DFL)

    @property
    def dist_channels(self) -> int:
        """Channels of a prior's distributions."""
        return self.bbox_coder.encode_size * (self.intervals + 1)

    def _init_layers(self) -> None:
        super()._init_layers()
        channels = self.feat_channels if self.stacked_convs else self.in_channels
        self.retina_reg = torch.nn.Conv2d(
            channels, self.num_base_priors * self.dist_channels, 3, padding=1
        )

    def deltas(self, dists: Tensor) -> Tensor:
        """Expectations, (..., 5), of distributions before the softmax, (..., 85)."""
        by_bin = dists.float().unflatten(-1, (-1, self.intervals + 1))
        return by_bin.softmax(-1) @ self.box_bins.float()

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_dists: Sequence[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch from the outputs of ``forward``."""
        sizes = [level.shape[-2:] for level in cls_scores]
        anchors, flags = self.get_anchors(
            sizes, batch_img_metas, device=cls_scores[0].device
        )
        labels, label_weights, targets, weights, number = self.get_targets(
            anchors,
            flags,
            batch_gt_instances,
            batch_img_metas,
            batch_gt_instances_ignore=batch_gt_instances_ignore,
        )
        avg_factor = averaged_count(cls_scores[0].new_tensor(float(number)))
        logits = flatten_levels(cls_scores, self.cls_out_channels)
        loss_cls = self.loss_cls(
            logits.flatten(0, 1),
            torch.cat(labels, 1).flatten(),
            torch.cat(label_weights, 1).flatten(),
            avg_factor=avg_factor,
        )
        positive = [(x >= 0) & (x < self.num_classes) for x in labels]  # (N, n_l)
        priors = [
            get_box_tensor(level).expand(len(logits), -1, -1) for level in anchors[0]
        ]
        of_positives = (
            torch.cat([x[of_level] for x, of_level in zip(xs, positive, strict=True)])
            for xs in (priors, targets, weights)
        )
        dists = select_priors(bbox_dists, self.dist_channels, torch.cat(positive, 1))
        loss_bbox, loss_dfl = self._box_losses(avg_factor, dists, *of_positives)
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox, loss_dfl=loss_dfl)

    def _box_losses(
        self,
        avg_factor: Tensor,
        dists: Tensor,
        priors: Tensor,
        targets: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Of the positives: distributions (P, 5 * bins), the others (P, 5)."""
        preds = self.deltas(dists)
        deltas = targets
        if self.reg_decoded_bbox:
            preds = get_box_tensor(self.bbox_coder.decode(priors, preds))
            deltas = self.bbox_coder.encode(RotatedBoxes(priors), RotatedBoxes(targets))
        loss_bbox = self.loss_bbox(preds, targets, weights, avg_factor=avg_factor)
        low, high = self.box_bins[0], self.box_bins[-1]
        positions = (deltas - low) / (high - low) * self.intervals
        loss_dfl = self.loss_dfl(
            dists.float().view(-1, self.intervals + 1),
            # The loss reads the bin above, too: below the last one.
            positions.clamp(0, self.intervals - 0.01).flatten(),
            weights.flatten(),
            avg_factor=self.bbox_coder.encode_size * avg_factor,
        )
        return loss_bbox, loss_dfl

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_dists: Sequence[Tensor],
        *args: Any,
        **kwargs: Any,
    ) -> list[InstanceData]:
        """Detections from the outputs of ``forward``; as in ``BaseDenseHead``."""
        bbox_preds = [
            self.deltas(level.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for level in bbox_dists
        ]
        return super().predict_by_feat(cls_scores, bbox_preds, *args, **kwargs)
