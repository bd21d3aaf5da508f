"""Key positions against plain loops, over dense IoUs and over pairs that meet."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import box_iou_rotated
from mmdet.models.task_modules import AnchorGenerator
from mmdet.structures.bbox import bbox_overlaps
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional import (
    key_position_mask,
    key_positions,
    position_aware_l2,
)

THRESHOLDS = ('adaptive', 'per_gt', 'nonzero', 0.5, 0.0, 1.0, 0.3)


def oracle_mask(ious, threshold):
    """Eq. 13 to 18, element by element."""
    height, width, anchors, objects = ious.shape
    mask = np.zeros((height, width), dtype=bool)
    for g in range(objects):
        if threshold == 'adaptive':
            values = ious.ravel()
        elif threshold == 'per_gt':
            values = ious[..., g].ravel()
        elif threshold == 'nonzero':
            values = ious[ious > 0]
        else:
            values = None
        if values is None:
            factor = threshold
        elif len(values):
            mean = sum(values) / len(values)
            factor = mean + math.sqrt(
                sum((v - mean) ** 2 for v in values) / len(values)
            )
        else:
            factor = 0
        limit = factor * ious[..., g].max()
        for y in range(height):
            for x in range(width):
                if any(ious[y, x, k, g] > limit for k in range(anchors)):
                    mask[y, x] = True
    return mask


def sparse_ious(*shape):
    """As IoUs of anchors and objects are: mostly 0."""
    ious = torch.rand(shape, dtype=torch.float64)
    return ious * (torch.rand(shape) < 0.3)


def test_worked_example():
    # mean .3, deviation sqrt((.09 + .09 + .01 + .01) / 4) = .2236: lambda .5236;
    # above .5236 * .6 = .314 is .4 and .6.
    ious = torch.tensor([0.0, 0.2, 0.4, 0.6], dtype=torch.float64).view(2, 2, 1, 1)
    assert key_position_mask(ious).tolist() == [[False, False], [True, True]]
    # without the zero: mean .4, deviation .163: above .563 * .6 = .338
    assert key_position_mask(ious, 'nonzero').tolist() == [[False, False], [True, True]]
    assert key_position_mask(ious, 0.3).tolist() == [[False, True], [True, True]]
    # "exceeds": the cell that equals the limit is none
    assert key_position_mask(ious, 1.0).sum() == 0


def test_each_object_has_its_own_limit():
    ious = torch.zeros(1, 3, 2, 2)
    ious[0, 0, 1, 0], ious[0, 1, 0, 0] = 0.8, 0.3
    ious[0, 2, 0, 1] = 0.1  # the best of object 1, far below those of object 0
    assert key_position_mask(ious, 0.5).tolist() == [[True, False, True]]


@pytest.mark.parametrize('threshold', THRESHOLDS)
def test_dense_matches_the_definition(threshold):
    for shape in ((5, 4, 3, 6), (1, 1, 1, 1), (3, 3, 9, 1)):
        ious = sparse_ious(*shape)
        expected = oracle_mask(ious.numpy(), threshold)
        np.testing.assert_array_equal(key_position_mask(ious, threshold), expected)


@pytest.mark.parametrize('threshold', THRESHOLDS)
def test_nothing_is_key_without_overlap(threshold):
    assert not key_position_mask(torch.zeros(3, 2, 9, 4), threshold).any()
    assert key_position_mask(torch.zeros(3, 2, 9, 0), threshold).shape == (3, 2)
    assert not key_position_mask(torch.zeros(3, 2, 9, 0), threshold).any()


def test_half_precision_is_not_summed_in_half():
    ious = sparse_ious(64, 64, 9, 4).half()
    expected = key_position_mask(ious.double())
    assert torch.equal(key_position_mask(ious), expected)


@pytest.mark.parametrize('threshold', ['mean', -0.1, 1.5, float('nan')])
def test_refuses_other_thresholds(threshold):
    with pytest.raises(ConfigError, match='threshold'):
        key_position_mask(torch.rand(2, 2, 3, 1), threshold)
    with pytest.raises(ShapeError, match=r'\(H, W, A, G\)'):
        key_position_mask(torch.rand(2, 2, 3))


def generator(**options):
    return AnchorGenerator(
        **{
            **dict(
                octave_base_scale=3,
                scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0],
                strides=[4, (8, 16), 16 / 3],
            ),
            **options,
        }
    )


def objects(kind, counts, seed=0):
    """Boxes in and around a map of 96 x 64 pixels, and the image of each."""
    rng = torch.Generator().manual_seed(seed)
    num = sum(counts)
    centre = torch.rand(num, 2, generator=rng) * torch.tensor([110.0, 80.0]) - 8
    size = 2 + torch.rand(num, 2, generator=rng) ** 2 * 70
    image = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    if kind == 'horizontal':
        return torch.cat([centre - size / 2, centre + size / 2], 1), image
    angle = (torch.rand(num, 1, generator=rng) - 0.5) * torch.pi
    return torch.cat([centre, size, angle], 1), image


def dense_ious(kind, boxes, generator, level, size):
    anchors = generator.single_level_grid_priors(size, level, device='cpu')
    if kind == 'horizontal':
        ious = bbox_overlaps(anchors, boxes)
    else:
        low, high = anchors[:, :2], anchors[:, 2:]
        upright = torch.cat([(low + high) / 2, high - low, low[:, :1] * 0], 1)
        ious = box_iou_rotated(upright, boxes)
    return ious.view(*size, -1, len(boxes))


@pytest.mark.parametrize('kind', ['horizontal', 'rotated'])
@pytest.mark.parametrize('threshold', THRESHOLDS)
def test_batches_match_dense_ious(kind, threshold, monkeypatch):
    anchors = generator()
    boxes, image = objects(kind, [7, 0, 12, 1])
    for block in (2**18, 500):  # whole, and cut into many blocks
        monkeypatch.setattr('aerialkd.structures.anchor_grid._BLOCK', block)
        for level, size in enumerate([(16, 24), (4, 12), (12, 18)]):
            masks = key_positions(
                boxes,
                image,
                4,
                anchors.base_anchors[level],
                anchors.strides[level],
                size,
                threshold,
            )
            for index in range(4):
                mine = boxes[image == index]
                if not len(mine):
                    assert not masks[index].any()
                    continue
                ious = dense_ious(kind, mine, anchors, level, size)
                expected = key_position_mask(ious, threshold)
                assert torch.equal(masks[index], expected)


def test_an_offset_of_the_anchors_is_kept():
    shifted = generator(center_offset=0.5)
    boxes, image = objects('horizontal', [5])
    mask = key_positions(
        boxes, image, 1, shifted.base_anchors[0], shifted.strides[0], (16, 24), 0.5
    )
    expected = key_position_mask(
        dense_ious('horizontal', boxes, shifted, 0, (16, 24)), 0.5
    )
    assert torch.equal(mask[0], expected)


def test_a_batch_without_boxes():
    anchors = generator()
    mask = key_positions(
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
        2,
        anchors.base_anchors[0],
        anchors.strides[0],
        (3, 5),
    )
    assert mask.shape == (2, 3, 5)
    assert not mask.any()


def oracle_l2(s, t, mask):
    total, count = 0.0, 0
    for n, y, x in np.ndindex(mask.shape):
        if mask[n, y, x]:
            count += 1
            total += sum(
                (t[n, c, y, x] - s[n, c, y, x]) ** 2 for c in range(s.shape[1])
            )
    return total / max(count, 1)


def test_l2_matches_the_definition():
    s, t = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64)
    mask = torch.rand(3, 4, 6) < 0.4
    loss = position_aware_l2(s, t, mask)
    assert loss.item() == pytest.approx(oracle_l2(s.numpy(), t.numpy(), mask.numpy()))
    assert position_aware_l2(t, t, mask) == 0


def test_l2_gradient_is_the_students_at_key_positions():
    s = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    t = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 4, 4) < 0.5
    assert gradcheck(lambda s: position_aware_l2(s, t, mask), s)
    position_aware_l2(s, t, mask).backward()
    assert t.grad is None
    assert s.grad.abs().sum(1).bool().equal(mask)
    # A step against the gradient brings the student closer.
    closer = position_aware_l2(s.detach() - 0.1 * s.grad, t, mask)
    assert closer < position_aware_l2(s, t, mask)


def test_l2_without_key_cells_is_zero_on_the_graph():
    s = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = position_aware_l2(s, torch.randn(1, 2, 3, 3), torch.zeros(1, 3, 3).bool())
    loss.backward()
    assert loss == 0
    assert (s.grad == 0).all()


def test_l2_in_half_precision_does_not_overflow():
    s, t = torch.zeros(1, 512, 16, 16).half(), torch.full((1, 512, 16, 16), 30.0).half()
    loss = position_aware_l2(s, t, torch.ones(1, 16, 16).bool())
    assert loss.item() == pytest.approx(900 * 512)


def test_l2_refuses_other_shapes():
    s = torch.zeros(1, 2, 3, 3)
    with pytest.raises(ShapeError, match='position_aware_l2'):
        position_aware_l2(s, torch.zeros(1, 2, 3, 4), torch.ones(1, 3, 3))
    with pytest.raises(ShapeError, match=r'\(N, H, W\)'):
        position_aware_l2(s, s, torch.ones(1, 1, 3, 3))
