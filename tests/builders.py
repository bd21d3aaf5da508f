"""Small detectors and batches that many tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def retinanet(
    num_classes: int = 3,
    width: int = 8,
    preprocessor: dict | None = None,
    **backbone: Any,
) -> ConfigDict:
    """A RetinaNet of a few thousand parameters, ResNet-18 of base width ``width``."""
    return ConfigDict(
        type='mmdet.RetinaNet',
        data_preprocessor=dict(
            type='mmdet.DetDataPreprocessor',
            bgr_to_rgb=True,
            pad_size_divisor=32,
            **(preprocessor or IMAGENET),
        ),
        backbone=dict(
            type='mmdet.ResNet',
            depth=18,
            base_channels=width,
            stem_channels=width,
            norm_cfg=dict(type='BN'),
            **backbone,
        ),
        neck=dict(
            type='mmdet.FPN',
            in_channels=[width, 2 * width, 4 * width, 8 * width],
            out_channels=16,
            start_level=1,
            num_outs=4,
            add_extra_convs='on_output',
        ),
        bbox_head=dict(
            type='mmdet.RetinaHead',
            num_classes=num_classes,
            in_channels=16,
            stacked_convs=1,
            feat_channels=16,
            anchor_generator=dict(
                type='mmdet.AnchorGenerator',
                octave_base_scale=2,
                scales_per_octave=2,
                ratios=[0.5, 1.0, 2.0],
                strides=[8, 16, 32, 64],
            ),
            bbox_coder=dict(type='mmdet.DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='mmdet.L1Loss'),
        ),
        train_cfg=dict(
            assigner=dict(
                type='mmdet.MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=0.5,
            ),
            sampler=dict(type='mmdet.PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=dict(
            nms_pre=100,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=20,
        ),
    )


def gfl() -> ConfigDict:
    """A GFL as small as the RetinaNet of the builders."""
    cfg = retinanet()
    cfg.type = 'mmdet.GFL'
    cfg.bbox_head = ConfigDict(
        type='mmdet.GFLHead',
        num_classes=3,
        in_channels=16,
        stacked_convs=1,
        feat_channels=16,
        norm_cfg=dict(type='GN', num_groups=4),
        reg_max=8,
        anchor_generator=dict(
            type='mmdet.AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=1,
            ratios=[1.0],
            strides=[8, 16, 32, 64],
        ),
        loss_cls=dict(type='mmdet.QualityFocalLoss'),
        loss_dfl=dict(type='mmdet.DistributionFocalLoss'),
        loss_bbox=dict(type='mmdet.GIoULoss'),
    )
    return cfg


def atss() -> ConfigDict:
    """An ATSS like the GFL, with centerness and its own assigner."""
    cfg = gfl()
    cfg.type = 'mmdet.ATSS'
    focal = dict(type='mmdet.FocalLoss', use_sigmoid=True)
    cfg.bbox_head.update(type='mmdet.ATSSHead', loss_cls=focal)
    for key in ('reg_max', 'loss_dfl'):
        cfg.bbox_head.pop(key)
    cfg.train_cfg.assigner = ConfigDict(type='mmdet.ATSSAssigner', topk=9)
    return cfg


def fcos() -> ConfigDict:
    """An FCOS, whose head decodes its boxes in evaluation mode."""
    cfg = retinanet()
    cfg.type = 'mmdet.FCOS'
    cfg.bbox_head = ConfigDict(
        type='mmdet.FCOSHead',
        num_classes=3,
        in_channels=16,
        stacked_convs=1,
        feat_channels=16,
        strides=[8, 16, 32, 64],
        regress_ranges=((-1, 16), (16, 32), (32, 64), (64, 1e8)),
        norm_on_bbox=True,
        norm_cfg=dict(type='GN', num_groups=4),
    )
    cfg.train_cfg = None
    return cfg


def rotated_retinanet() -> ConfigDict:
    """A RetinaNet with rotated boxes, angles in [-90, 90) degrees."""
    cfg = retinanet(preprocessor=dict(boxtype2tensor=False))
    cfg.bbox_head.anchor_generator.update(
        type='mmrotate.FakeRotatedAnchorGenerator', angle_version='le90'
    )
    cfg.bbox_head.bbox_coder = dict(
        type='mmrotate.DeltaXYWHTRBBoxCoder',
        angle_version='le90',
        norm_factor=None,
        edge_swap=True,
        proj_xy=True,
        target_means=(0.0,) * 5,
        target_stds=(1.0,) * 5,
    )
    cfg.train_cfg.assigner.type = 'aerialkd.MaxIoUAssigner'
    cfg.train_cfg.assigner.iou_calculator = dict(type='aerialkd.RBboxOverlaps2D')
    cfg.test_cfg.nms = dict(type='nms_rotated', iou_threshold=0.1)
    return cfg


def dist_rotated_retinanet() -> ConfigDict:
    """The same with a distribution for each delta."""
    cfg = rotated_retinanet()
    cfg.bbox_head.update(
        type='aerialkd.DistributionRotatedRetinaHead',
        intervals=8,
        reg_decoded_bbox=True,
        # Unlike GDLoss_v1 it divides by the head's number of positives.
        loss_bbox=dict(type='mmrotate.GDLoss', loss_type='kld', tau=1.0),
    )
    return cfg


def pkd_distiller(**overrides: Any) -> ConfigDict:
    """PKD on all pyramid levels."""
    cfg = dict(
        type='aerialkd.DetectionDistiller',
        recorders=dict(fpn=dict(type='ModuleOutputs', source='neck')),
        distill_losses=dict(pkd=dict(type='aerialkd.PKDLoss')),
        loss_forward_mappings=dict(pkd='fpn'),
    )
    return ConfigDict({**cfg, **overrides})


def distill(**overrides: Any) -> ConfigDict:
    """The small RetinaNet taught by one of twice its width, which is untrained."""
    cfg = dict(
        type='aerialkd.DetectionDistill',
        teacher_check=False,
        architecture=retinanet(),
        teacher=retinanet(width=16),
        distiller=pkd_distiller(),
    )
    return ConfigDict({**cfg, **overrides})


def batch(
    sizes: tuple[tuple[int, int], ...] = ((64, 96), (80, 64)),
    boxes: int = 3,
    seed: int = 0,
) -> dict[str, list]:
    """Raw images and annotations as a data loader gives them."""
    rng = np.random.default_rng(seed)
    inputs, samples = [], []
    for height, width in sizes:
        inputs.append(
            torch.from_numpy(rng.integers(0, 256, (3, height, width), np.uint8))
        )
        corner = rng.uniform(0, (width - 24, height - 24), (boxes, 2))
        xyxy = np.concatenate([corner, corner + rng.uniform(8, 24, (boxes, 2))], 1)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width),
                ori_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(xyxy, dtype=torch.float32),
            labels=torch.from_numpy(rng.integers(0, 3, boxes)),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def yolov8(num_classes: int = 3, width: float = 0.125) -> ConfigDict:
    """A YOLOv8 narrower than its smallest size."""
    size = dict(depth=0.33, width=width)
    return ConfigDict(
        type='aerialkd.YOLOv8',
        data_preprocessor=dict(
            type='mmdet.DetDataPreprocessor',
            mean=[0.0] * 3,
            std=[255.0] * 3,
            bgr_to_rgb=True,
            pad_size_divisor=32,
            pad_value=114 / 255,
        ),
        backbone=dict(type='aerialkd.YOLOv8Backbone', size=size),
        neck=dict(type='aerialkd.YOLOv8PAFPN', size=size),
        bbox_head=dict(type='aerialkd.YOLOv8Head', size=size, num_classes=num_classes),
        test_cfg=dict(
            nms_pre=100,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.7),
            max_per_img=20,
        ),
    )


# Every family of dense heads that is distilled by prior.
HEADS = dict(
    retinanet=retinanet,
    atss=atss,
    gfl=gfl,
    fcos=fcos,
    yolov8=yolov8,
    rotated=rotated_retinanet,
)


def turned(data: dict[str, list]) -> dict[str, list]:
    """The same batch with rotated boxes, in place."""
    for sample in data['data_samples']:
        for instances in (sample.gt_instances, sample.ignored_instances):
            xyxy = instances.bboxes
            centre, size = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
            angle = torch.full_like(xyxy[:, :1], 0.4)
            instances.bboxes = RotatedBoxes(torch.cat([centre, size, angle], 1))
    return data
