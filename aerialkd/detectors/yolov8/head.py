"""Head of YOLOv8: classes and box distributions in separate branches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import multi_apply
from mmengine.structures import InstanceData
from torch import Tensor, nn

from aerialkd.arguments import Count
from aerialkd.detectors.yolov8.blocks import conv_bn_silu, init_cfg_or_default
from aerialkd.detectors.yolov8.sizes import model_size
from aerialkd.detectors.yolov8.targets import Objects, PointTargets, point_targets
from aerialkd.registry import MODELS, TASK_UTILS
from aerialkd.structures import Tower, Towers, averaged_count

REFERENCE_SIZE = 640  # pixels, for the prior of the class scores


@MODELS.register_module()
class YOLOv8Head(BaseDenseHead):
    """Anchor-free head with a distribution over ``reg_max`` bins for each side.

    The distance of a side from its point, in strides, is the expectation of a softmax
    over the bins 0, 1, ..., ``reg_max`` - 1 (Li et al. 2020, Generalized Focal Loss;
    there ``reg_max`` is the last bin, here it is their number).

    The loss of a batch is divided by the sum of the target scores (averaged over GPUs,
    at least 1): BCE of all classes with soft targets, and for positives, weighted by
    their target score, 1 - CIoU and distribution focal loss, mean over the four sides.
    Priors in ignored regions that are not positive take no part in the class loss.

    Args:
        num_classes: number of classes.
        size: as for :class:`YOLOv8Backbone`; channels follow from it.
        reg_max: number of bins.
        strides: of the levels.
        loss_cls: BCE loss.
        loss_bbox: loss of decoded boxes in pixels.
        loss_dfl: loss of the distributions.
        times_batch_size: multiply the losses by the number of images of this GPU. The
            framework that RDR-KD's baseline comes from does so, and its learning rate,
            0.01 with SGD, presumes it; the paper's weights of the losses beside it
            (1e-5, 1e-1) will have been chosen against that total, too. With False, the
            learning rate has to be raised by that factor.
        bbox_coder: clips decoded boxes to the image.
        train_cfg: ``assigner``.
        test_cfg: ``score_thr``, ``nms_pre``, ``nms`` and ``max_per_img``.
        init_cfg: as for ``mmengine.model.BaseModule``.

    Attributes:
        projection: the bins, (reg_max,). A parameter that is never trained, not a
            buffer: the parameter counts that are commonly reported (3,157,200 for n)
            include it.
    """

    use_sigmoid_cls = True
    num_base_priors = 1

    def __init__(
        self,
        num_classes: Count,
        size: str | Mapping[str, Any] = 'n',
        reg_max: Count = 16,
        strides: Sequence[Count] = (8, 16, 32),
        loss_cls: Mapping[str, Any] | None = None,
        loss_bbox: Mapping[str, Any] | None = None,
        loss_dfl: Mapping[str, Any] | None = None,
        times_batch_size: bool = True,
        bbox_coder: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg_or_default(init_cfg))
        self.num_classes = self.cls_out_channels = num_classes
        self.reg_max = reg_max
        self.times_batch_size = times_batch_size
        self.prior_generator = TASK_UTILS.build(
            dict(type='mmdet.MlvlPointGenerator', strides=list(strides), offset=0.5)
        )
        self.bbox_coder = TASK_UTILS.build(
            bbox_coder or dict(type='mmdet.DistancePointBBoxCoder')
        )
        self.loss_cls = MODELS.build(
            loss_cls
            or dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=0.5)
        )
        self.loss_bbox = MODELS.build(
            loss_bbox or dict(type='aerialkd.CompleteIoULoss', loss_weight=7.5)
        )
        self.loss_dfl = MODELS.build(
            loss_dfl or dict(type='mmdet.DistributionFocalLoss', loss_weight=1.5)
        )
        assigner = (train_cfg or {}).get('assigner')
        self.assigner = TASK_UTILS.build(
            assigner or dict(type='aerialkd.PointTaskAlignedAssigner')
        )
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        self._init_layers(model_size(size).pyramid_channels)

    def _init_layers(self, in_channels: Sequence[int]) -> None:
        reg_channels = max(16, in_channels[0] // 4, 4 * self.reg_max)
        cls_channels = max(in_channels[0], min(self.num_classes, 100))

        def branch(channels: int, hidden: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                conv_bn_silu(channels, hidden, 3),
                conv_bn_silu(hidden, hidden, 3),
                nn.Conv2d(hidden, outputs, 1),
            )

        self.reg_branches = nn.ModuleList(
            branch(channels, reg_channels, 4 * self.reg_max) for channels in in_channels
        )
        self.cls_branches = nn.ModuleList(
            branch(channels, cls_channels, self.num_classes) for channels in in_channels
        )
        bins = torch.arange(self.reg_max, dtype=torch.float)
        self.projection = nn.Parameter(bins, requires_grad=False)

    def init_weights(self) -> None:
        """Start with few objects of every class an image, and small boxes."""
        super().init_weights()
        strides = [stride for stride, _ in self.prior_generator.strides]
        branches: Any = zip(self.reg_branches, self.cls_branches, strides, strict=True)
        for reg, cls, stride in branches:
            cells = (REFERENCE_SIZE / stride) ** 2
            nn.init.constant_(reg[-1].bias, 1.0)
            nn.init.constant_(cls[-1].bias, math.log(5 / self.num_classes / cells))

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Raw outputs, the same in training and evaluation.

        Args:
            feats: maps of the neck, (N, C_l, H_l, W_l).

        Returns:
            Class logits, (N, num_classes, H_l, W_l), and box distributions before the
            softmax, (N, 4 * reg_max, H_l, W_l) in the order left, top, right, bottom;
            both for each level.
        """
        return multi_apply(
            lambda x, cls, reg: (cls(x), reg(x)),
            feats,
            self.cls_branches,
            self.reg_branches,
        )

    def towers(self, level: int) -> Towers:
        """Stacked convolutions and predictors of a level, see ``head_towers``."""
        cls, reg = (
            Tower([*branches[level]][:-1], branches[level][-1])  # type: ignore
            for branches in (self.cls_branches, self.reg_branches)
        )
        return Towers(cls, reg)

    @property
    def box_bins(self) -> Tensor:
        """Values of the bins in strides, (reg_max,)."""
        return self.projection

    def distances(self, bbox_dists: Tensor) -> Tensor:
        """Expected distances in strides, (..., 4), of distributions (..., 4 * bins)."""
        bins = bbox_dists.float().unflatten(-1, (4, self.reg_max))
        return bins.softmax(-1) @ self.projection.float()

    def decode(self, bbox_dists: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
        """Boxes of distributions.

        Args:
            bbox_dists: distributions before the softmax, (..., L, 4 * reg_max).
            priors: points in pixels, (L, 2) or (..., L, 2).
            strides: stride of each point in pixels, (L,) or (..., L).

        Returns:
            (..., L, 4) xyxy in pixels, not clipped to the image.
        """
        distances = self.distances(bbox_dists) * strides[..., None]
        points = priors[..., :2]
        return torch.cat(
            [points - distances[..., :2], points + distances[..., 2:]], dim=-1
        )

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_dists: Sequence[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch from the outputs of :meth:`forward`."""
        num_images = len(batch_img_metas)
        sizes = [level.shape[-2:] for level in cls_scores]
        levels = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)
        points, strides = torch.cat(levels), self._strides(levels)
        logits, dists = _flat(cls_scores), _flat(bbox_dists)  # (N, L, K), (N, L, 64)
        with torch.no_grad():
            boxes = self.decode(dists, points, strides)
        *lists, total = self.get_targets(
            [levels] * num_images,
            logits,
            boxes,
            batch_gt_instances,
            batch_gt_instances_ignore,
        )
        losses = self._losses(
            logits,
            dists,
            points,
            strides,
            PointTargets(*(torch.cat(levels, 1) for levels in lists)),
            avg_factor=averaged_count(total),
        )
        factor = num_images if self.times_batch_size else 1
        return {name: loss * factor for name, loss in losses.items()}

    def _losses(
        self,
        logits: Tensor,
        dists: Tensor,
        points: Tensor,
        strides: Tensor,
        targets: PointTargets,
        avg_factor: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of (N, L, K) logits and (N, L, 4 * bins) distributions.

        Without positives the box losses are empty sums: zero, and a gradient of zero
        for every parameter, for which other GPUs wait.
        """
        positive = targets.labels < self.num_classes  # (N, L)
        image, prior = positive.nonzero(as_tuple=True)
        score = targets.bbox_weights[image, prior, 0]  # (P,)
        boxes = targets.bbox_targets[image, prior]
        points, strides, dists = points[prior], strides[prior], dists[image, prior]
        soft = torch.zeros_like(logits)
        soft[image, prior, targets.labels[image, prior]] = score
        weights = targets.label_weights[..., None].expand_as(logits)
        return dict(
            loss_cls=self.loss_cls(logits, soft, weights, avg_factor=avg_factor),
            loss_bbox=self.loss_bbox(
                self.decode(dists, points, strides), boxes, score, avg_factor=avg_factor
            ),
            loss_dfl=self.loss_dfl(
                dists.reshape(-1, self.reg_max),
                self._bin_targets(boxes, points, strides).flatten(),
                score.repeat_interleave(4),
                avg_factor=4 * avg_factor,
            ),
        )

    def get_targets(
        self,
        priors: list[list[Tensor]],
        cls_scores: Tensor,
        bbox_preds: Tensor,
        batch_gt_instances: list[InstanceData],
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
    ) -> tuple[Any, ...]:
        """Targets of every prior, in the form of mmdet's anchor heads.

        Args:
            priors: for each image the points of each level, (n_l, 2) in pixels; the
                same for all images.
            cls_scores: class logits, (N, L, num_classes).
            bbox_preds: decoded boxes, (N, L, 4) xyxy in pixels.
            batch_gt_instances: objects of each image.
            batch_gt_instances_ignore: ignored regions of each image.

        Returns:
            Labels (``num_classes`` is background), label weights (0 for background in
            ignored regions), box targets (xyxy in pixels) and box weights (the target
            score of the label, repeated for the four sides), each a list of
            (N, n_l, ...) over the levels; and the sum of the target scores.
        """
        counts = [len(level) for level in priors[0]]
        targets = point_targets(
            self.assigner,
            torch.cat(priors[0]),
            cls_scores.detach().sigmoid(),
            bbox_preds.detach(),
            Objects.of(batch_gt_instances),
            Objects.of(batch_gt_instances_ignore),
        )
        lists = [list(field.split(counts, 1)) for field in targets]
        return (*lists, targets.bbox_weights[..., 0].sum())

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_dists: Sequence[Tensor],
        *args: Any,
        **kwargs: Any,
    ) -> list[InstanceData]:
        """Detections from the outputs of :meth:`forward`; as in ``BaseDenseHead``."""
        # Distances in pixels are what the points' coder decodes, (N, 4, H, W).
        bbox_preds = [
            self.distances(level.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * stride
            for level, (stride, _) in zip(
                bbox_dists, self.prior_generator.strides, strict=True
            )
        ]
        return super().predict_by_feat(cls_scores, bbox_preds, *args, **kwargs)

    def _strides(self, levels: Sequence[Tensor]) -> Tensor:
        """Stride of each prior, (L,)."""
        return torch.cat(
            [
                level.new_full((len(level),), stride)
                for level, (stride, _) in zip(
                    levels, self.prior_generator.strides, strict=True
                )
            ]
        )

    def _bin_targets(self, boxes: Tensor, points: Tensor, strides: Tensor) -> Tensor:
        """Distances in strides that the bins can express, (P, 4)."""
        distances = torch.cat([points - boxes[:, :2], boxes[:, 2:] - points], dim=1)
        # The loss reads the bin above, too: below the last one.
        return (distances / strides[:, None]).clamp(0, self.reg_max - 1 - 0.01)


def _flat(levels: Sequence[Tensor]) -> Tensor:
    """(N, C, H_l, W_l) of each level to (N, L, C), in single precision."""
    return torch.cat([level.flatten(2) for level in levels], 2).mT.float()
