"""Batches, heads and their outputs for tests of losses, without a detector."""

import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

from aerialkd.structures import AssignedTargets, BatchContext
from tests.builders import retinanet, rotated_retinanet

NONE = torch.zeros(0, 4)
SIZES = [(8, 8), (4, 4), (2, 2), (1, 1)]
A, K = 6, 3  # anchors a cell and classes of the builders' heads
L = A * sum(h * w for h, w in SIZES)
DIMENSIONS = {'horizontal': 4, 'rotated': 5}


def with_boxes(*boxes, input_shape=(32, 32), img_shapes=None, **options):
    """A batch of images with the given boxes, each a list of rows or a tensor."""
    samples = []
    for index, rows in enumerate(boxes):
        shape = img_shapes[index] if img_shapes else input_shape
        sample = DetDataSample(metainfo=dict(img_shape=shape))
        sample.gt_instances = InstanceData(
            bboxes=torch.as_tensor(rows, dtype=torch.float32),
            labels=torch.zeros(len(rows), dtype=torch.long),
        )
        samples.append(sample)
    return BatchContext(samples, input_shape, **options)


def many_boxes(num, size=64.0, rotated=False):
    centre, wh = size * torch.rand(num, 2), 1 + size / 4 * torch.rand(num, 2)
    if rotated:
        return torch.cat([centre, wh, torch.rand(num, 1) * 3 - 1.5], 1)
    return torch.cat([centre - wh / 2, centre + wh / 2], 1)


def head_of(kind):
    cfg = retinanet() if kind == 'horizontal' else rotated_retinanet()
    return MODELS.build(cfg).bbox_head


def outputs(kind, images=2):
    """Random class scores and deltas of a head, by level."""
    return tuple(
        tuple(torch.randn(images, A * columns, *size) for size in SIZES)
        for columns in (K, DIMENSIONS[kind])
    )


def by_prior(levels, columns):
    """mmdet's order, spelled out: levels, rows, columns, anchors."""
    images = len(levels[0])
    rows = [
        level[image, a * columns : (a + 1) * columns, y, x]
        for image in range(images)
        for level in levels
        for y in range(level.shape[2])
        for x in range(level.shape[3])
        for a in range(A)
    ]
    return torch.stack(rows).view(images, L, columns)


def with_positives(kind, positive, avg_factor=None, image=(64, 64), heads=None):
    """Two images of which the given (image, prior) pairs are positive."""
    labels = torch.full((2, L), K)
    for where in positive:
        labels[where] = 1
    factor = float(max(len(positive), 1) if avg_factor is None else avg_factor)
    assigned = AssignedTargets(
        labels=labels,
        label_weights=torch.ones(2, L),
        bbox_targets=torch.zeros(2, L, DIMENSIONS[kind]),
        bbox_weights=torch.zeros(2, L, DIMENSIONS[kind]),
        priors=torch.zeros(2, L, DIMENSIONS[kind]),
        num_level_priors=tuple(A * h * w for h, w in SIZES),
        avg_factor=torch.tensor(factor),
        num_classes=K,
    )
    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo=dict(img_shape=image))
        boxes = torch.zeros(0, DIMENSIONS[kind])
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    heads = heads or (head_of(kind), head_of(kind))
    return BatchContext(samples, (64, 64), lambda: assigned, heads)
