"""The region around positives, against plain loops over all priors and objects."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import box_iou_rotated
from mmdet.models.task_modules import ATSSAssigner
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from aerialkd.structures import PriorGrid, atss_thresholds, valuable_region
from aerialkd.structures.anchor_grid import cell_overlaps

SQUARE = torch.tensor([[-16.0, -16.0, 16.0, 16.0]])
THREE = torch.tensor(
    [[-8.0, -8.0, 8.0, 8.0], [-12.0, -6.0, 12.0, 6.0], [-5.0, -11.0, 5.0, 11.0]]
)
KINDS = pytest.mark.parametrize('kind', ['horizontal', 'rotated'])
ANCHORS = pytest.mark.parametrize('anchors', [SQUARE, THREE], ids=['square', 'three'])


def pyramid(anchors, sizes=((12, 16), (6, 8), (3, 4), (1, 1))):
    return [
        PriorGrid(anchors * 2**level, (8 * 2**level, 8 * 2**level), size)
        for level, size in enumerate(sizes)
    ]


def objects(kind, number, seed=0):
    """Of many sizes and shapes, some partly outside of the image of 96 x 128."""
    random = torch.Generator().manual_seed(seed)
    size = 4 * 25 ** torch.rand(number, 2, generator=random)
    centre = torch.rand(number, 2, generator=random) * torch.tensor([150.0, 120.0]) - 10
    if kind == 'horizontal':
        return torch.cat([centre - size / 2, centre + size / 2], 1)
    angle = (torch.rand(number, 1, generator=random) - 0.5) * 3.14
    return torch.cat([centre, size, angle], 1)


def corners(box):
    """Circumscribed x1, y1, x2, y2 of a box of four or five numbers."""
    if len(box) == 4:
        return [float(v) for v in box]
    cx, cy, w, h, angle = (float(v) for v in box)
    points = [
        (
            cx + sx * w / 2 * math.cos(angle) - sy * h / 2 * math.sin(angle),
            cy + sx * w / 2 * math.sin(angle) + sy * h / 2 * math.cos(angle),
        )
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    xs, ys = zip(*points, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


def ious_with(box, priors):
    """IoU of a box with each of the upright priors."""
    priors = torch.tensor(priors)
    if len(box) == 4:
        return bbox_overlaps(box[None], priors)[0].tolist()
    low, high = priors[:, :2], priors[:, 2:]
    upright = torch.cat([(low + high) / 2, high - low, torch.zeros(len(low), 1)], 1)
    return box_iou_rotated(box[None], upright)[0].tolist()


def priors_of(grid):
    return [
        [float(v) for v in anchor + torch.tensor([x, y, x, y]) * grid.stride[0]]
        for y in range(grid.size[0])
        for x in range(grid.size[1])
        for anchor in grid.anchors
    ]


def oracle(boxes, image, num_images, grids, gamma=0.25, topk=9):
    """Thresholds and values, one object and one prior at a time."""
    every = [prior for grid in grids for prior in priors_of(grid)]
    region = np.zeros((num_images, len(every)))
    thresholds = []
    for box, which in zip(boxes, image.tolist(), strict=True):
        low_x, low_y, high_x, high_y = corners(box)
        x, y = (low_x + high_x) / 2, (low_y + high_y) / 2
        if len(box) == 5:
            x, y = float(box[0]), float(box[1])
        ious = ious_with(box, every)
        candidates, start = [], 0
        for grid in grids:
            own = range(start, start + len(priors_of(grid)))
            apart = {
                i: (round((every[i][0] + every[i][2]) / 2 - x, 9)) ** 2
                + (round((every[i][1] + every[i][3]) / 2 - y, 9)) ** 2
                for i in own
            }
            candidates += sorted(own, key=lambda i: (apart[i], i))[:topk]
            start += len(own)
        chosen = np.array([ious[i] for i in candidates])
        thr = chosen.mean() + (chosen.std(ddof=1) if len(chosen) > 1 else 0)
        thresholds.append(thr)
        for i, prior in enumerate(every):
            width = max(prior[2], high_x) - min(prior[0], low_x)
            height = max(prior[3], high_y) - min(prior[1], low_y)
            dx, dy = (prior[0] + prior[2]) / 2 - x, (prior[1] + prior[3]) / 2 - y
            diou = ious[i] - (dx**2 + dy**2) / (width**2 + height**2)
            if gamma * thr <= diou < thr:
                region[which, i] = max(region[which, i], ious[i])
    return np.array(thresholds), region


@KINDS
@ANCHORS
def test_matches_loops_over_everything(kind, anchors):
    grids = pyramid(anchors)
    boxes, image = objects(kind, 12), torch.tensor([0] * 7 + [2] * 5)
    thresholds, region = oracle(boxes, image, 3, grids)
    found = atss_thresholds(boxes, grids)
    np.testing.assert_allclose(found, thresholds, rtol=1e-4, atol=1e-5)
    values = valuable_region(boxes, image, 3, grids)
    assert (region[0] > 0).sum() > 20
    assert ((region > 0) == (values.numpy() > 0)).all()
    np.testing.assert_allclose(values, region, rtol=1e-3, atol=1e-4)
    assert not values[1].any()


@KINDS
@ANCHORS
def test_other_settings(kind, anchors):
    grids, boxes = pyramid(anchors), objects(kind, 6, seed=3)
    image = torch.zeros(6, dtype=torch.long)
    for gamma, topk in ((0.6, 9), (0.25, 4), (0.0, 9)):
        thresholds, region = oracle(boxes, image, 1, grids, gamma, topk)
        np.testing.assert_allclose(
            atss_thresholds(boxes, grids, topk), thresholds, rtol=1e-4, atol=1e-5
        )
        values = valuable_region(boxes, image, 1, grids, gamma, topk)
        # At gamma 0 the region ends where the DIoU is 0: IoU with it alone counts.
        assert ((region > 0) == (values.numpy() > 0)).all(), (gamma, topk)


@ANCHORS
def test_thresholds_split_positives_from_the_rest_as_atss_does(anchors):
    """Priors that mmdet's assigner makes positive are above their thresholds."""
    grids, boxes = pyramid(anchors), objects('horizontal', 12)
    priors = torch.tensor([p for grid in grids for p in priors_of(grid)])
    assigned = ATSSAssigner(topk=9).assign(
        InstanceData(priors=priors),
        [grid.num_priors for grid in grids],
        InstanceData(bboxes=boxes, labels=torch.zeros(12, dtype=torch.long)),
    )
    thresholds = atss_thresholds(boxes, grids)
    positive = (assigned.gt_inds > 0).nonzero()[:, 0]
    owner = assigned.gt_inds[positive] - 1
    assert len(owner.unique()) >= 6
    ious = bbox_overlaps(priors[positive], boxes[owner], is_aligned=True)
    assert (ious >= thresholds[owner] - 1e-4).all()


def test_worked_example():
    """Four squares of 16 every 8 pixels; the object is the third one's twin."""
    grid = PriorGrid(torch.tensor([[-8.0, -8.0, 8.0, 8.0]]), (8, 8), (1, 4))
    box = torch.tensor([[8.0, -8.0, 24.0, 8.0]])
    # IoUs: 0, 1/3, 1, 1/3. Mean 5/12; variance of four: (25 + 1 + 49 + 1) / 144 / 3.
    thr = 5 / 12 + math.sqrt(76 / 144 / 3)
    assert atss_thresholds(box, [grid]).item() == pytest.approx(thr, abs=1e-5)
    # DIoU of the neighbours: 1/3 - 64 / (24^2 + 16^2) = .256, above .25 * .836.
    values = valuable_region(box, torch.tensor([0]), 1, [grid])[0]
    assert values.tolist() == pytest.approx([0, 1 / 3, 0, 1 / 3], abs=1e-5)
    narrower = valuable_region(box, torch.tensor([0]), 1, [grid], gamma=0.31)
    assert not narrower.any()  # IoU alone, .333, would reach .31 * .836


def test_the_largest_iou_of_several_objects_counts():
    grids = pyramid(SQUARE)
    box = torch.tensor([[40.0, 40.0, 72.0, 72.0]])
    shifted = box + 5
    alone = [valuable_region(b, torch.tensor([0]), 1, grids)[0] for b in (box, shifted)]
    both = valuable_region(torch.cat([box, shifted]), torch.tensor([0, 0]), 1, grids)
    assert torch.equal(both[0], torch.maximum(*alone))
    assert ((alone[0] > 0) & (alone[1] > alone[0])).any()


@KINDS
def test_batches_and_order_of_objects_do_not_matter(kind):
    grids, boxes = pyramid(THREE), objects(kind, 20, seed=1)
    image = torch.arange(20) % 2
    together = valuable_region(boxes, image, 2, grids)
    order = torch.randperm(20)
    shuffled = valuable_region(boxes[order], image[order], 2, grids)
    assert torch.equal(together, shuffled)
    for which in range(2):
        own = boxes[image == which]
        single = valuable_region(own, torch.zeros(len(own), dtype=torch.long), 1, grids)
        assert torch.equal(single[0], together[which])


@KINDS
def test_degenerate(kind):
    columns = 4 if kind == 'horizontal' else 5
    grids = pyramid(SQUARE)
    nothing = valuable_region(
        torch.zeros(0, columns), torch.zeros(0, dtype=torch.long), 2, grids
    )
    assert nothing.shape == (2, 12 * 16 + 48 + 12 + 1)
    assert not nothing.any()
    # Far outside, without extent, and a map of a single prior.
    boxes = objects(kind, 2)
    boxes[0, : (2 if columns == 5 else 4)] += 1e4
    boxes[1, 2:4] = 0 if columns == 5 else boxes[1, :2]
    image = torch.zeros(2, dtype=torch.long)
    assert torch.isfinite(valuable_region(boxes, image, 1, grids)).all()
    one = PriorGrid(SQUARE, (8, 8), (1, 1))
    thr = atss_thresholds(objects(kind, 3), [one])
    assert torch.isfinite(thr).all()


@KINDS
def test_no_gradient(kind):
    boxes = objects(kind, 3).requires_grad_()
    values = valuable_region(
        boxes, torch.zeros(3, dtype=torch.long), 1, pyramid(SQUARE)
    )
    assert not values.requires_grad


@KINDS
def test_overlaps_above_the_least_are_exact(kind):
    boxes, grid = objects(kind, 30), pyramid(THREE)[0]
    least = torch.linspace(0.05, 0.6, 30)
    skipped = 0
    pairs = [
        cell_overlaps(boxes, grid.anchors, grid.stride, grid.size, *extra)
        for extra in ((), (least,))
    ]
    for exact, bounded in zip(*pairs, strict=True):
        relevant = exact.ious >= least[exact.box, None]
        assert relevant.any()
        assert torch.equal(exact.ious[relevant], bounded.ious[relevant])
        skipped += ((bounded.ious == 0) & (exact.ious > 0)).sum().item()
    assert (skipped > 0) == (kind == 'rotated')
