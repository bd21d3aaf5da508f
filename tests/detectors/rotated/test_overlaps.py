"""Overlaps of rotated boxes are mmrotate's, for pairs that meet alone."""

import pytest
import torch
from mmrotate.models.task_modules.assigners import RBboxOverlaps2D as Dense
from mmrotate.registry import TASK_UTILS as MMROTATE_TASK_UTILS
from mmrotate.structures.bbox import RotatedBoxes

from aerialkd.detectors import rotated
from aerialkd.detectors.rotated import RBboxOverlaps2D, overlapping_pairs
from aerialkd.errors import BoxTypeError, ConfigError, ShapeError

pytestmark = pytest.mark.rounding

HALF_PI = torch.pi / 2
# Angles at and beyond the limits of le90, le135 and oc.
ANGLES = [-HALF_PI, HALF_PI, HALF_PI - 1e-6, -HALF_PI / 2, 1.5 * HALF_PI, 0.0, 1e-7]


def random_boxes(number, extent=300.0, sides=(2.0, 120.0)):
    low, high = sides
    size = low + (high - low) * torch.rand(number, 2)
    angle = (torch.rand(number, 1) - 0.5) * torch.pi
    return torch.cat([torch.rand(number, 2) * extent, size, angle], 1)


def thin_boxes(number):
    boxes = random_boxes(number)
    boxes[:, 2:4] = torch.tensor([[200.0, 0.01], [0.5, 90.0], [60.0, 1e-5]]).repeat(
        number // 3 + 1, 1
    )[:number]
    return boxes


def at_the_limits(number):
    boxes = random_boxes(number)
    boxes[:, 4] = torch.tensor(ANGLES).repeat(number // len(ANGLES) + 1)[:number]
    return boxes


def touching_boxes(number):
    """A grid whose cells touch in sides and corners, each turned by quarters."""
    index = torch.arange(number)
    centre = torch.stack([index % 8, index // 8], 1) * 16.0
    angle = (index % 3 - 1)[:, None] * HALF_PI
    return torch.cat([centre, torch.full((number, 2), 16.0), angle], 1)


def far_boxes(number):
    boxes = random_boxes(number)
    boxes[:, :2] += 15000  # a large scene
    return boxes


KINDS = [random_boxes, thin_boxes, at_the_limits, touching_boxes, far_boxes]


def priors(side, strides=(8, 16, 32, 64, 128)):
    generator = MMROTATE_TASK_UTILS.build(
        dict(
            type='mmrotate.FakeRotatedAnchorGenerator',
            angle_version='le90',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[1.0, 0.5, 2.0],
            strides=list(strides),
        )
    )
    sizes = [(side // s, side // s) for s in strides]
    levels = generator.grid_priors(sizes, device='cpu')
    return torch.cat([getattr(level, 'tensor', level) for level in levels])


@pytest.mark.parametrize('first', KINDS)
@pytest.mark.parametrize('second', KINDS)
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_equals_mmrotate(first, second, mode):
    one, other = first(40), second(60)
    assert torch.equal(RBboxOverlaps2D()(one, other, mode), Dense()(one, other, mode))


def test_equals_mmrotate_on_priors():
    boxes, anchors = random_boxes(20, 128, (4.0, 60.0)), priors(128)
    expected = Dense()(boxes, anchors)
    assert (expected > 0).float().mean() > 0.01
    assert torch.equal(RBboxOverlaps2D()(boxes, anchors), expected)


def test_equals_mmrotate_block_by_block(monkeypatch):
    one, other = random_boxes(50), random_boxes(31)
    expected = Dense()(one, other)
    monkeypatch.setattr('aerialkd.ops.pairs._BLOCK', 100)  # three rows at a time
    assert torch.equal(RBboxOverlaps2D()(one, other), expected)
    pairs = overlapping_pairs(one, other)
    assert (pairs.first.diff() >= 0).all()


def test_lists_the_pairs_that_meet_alone():
    boxes = torch.tensor([[10.0, 10, 8, 4, 0.3], [90, 10, 8, 4, 0], [12, 10, 8, 4, 0]])
    pairs = overlapping_pairs(boxes, boxes)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found == {(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)}


def test_takes_box_structures_scores_and_pairs_of_boxes():
    boxes = random_boxes(10)
    scored = torch.cat([boxes, torch.rand(10, 1)], 1)
    expected = Dense()(boxes, boxes)
    calculator = RBboxOverlaps2D()
    assert torch.equal(calculator(RotatedBoxes(boxes), scored), expected)
    aligned = calculator(boxes, boxes.flip(0), is_aligned=True)
    assert torch.equal(aligned, Dense()(boxes, boxes.flip(0), is_aligned=True))


@pytest.mark.parametrize(('one', 'other'), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes(one, other):
    overlaps = RBboxOverlaps2D()(random_boxes(one), random_boxes(other))
    assert overlaps.shape == (one, other)


def test_refuses_what_it_cannot_compare():
    calculator, boxes = RBboxOverlaps2D(), random_boxes(3)
    with pytest.raises(BoxTypeError, match='got 4 columns'):
        calculator(boxes[:, :4], boxes)
    with pytest.raises(ConfigError, match="'giou'"):
        calculator(boxes, boxes, mode='giou')
    with pytest.raises(ShapeError, match='3 and 2 boxes'):
        calculator(boxes, boxes[:2], is_aligned=True)


def test_computes_a_tenth_of_what_mmrotate_does(monkeypatch):
    """50 000 priors and 60 objects; mmrotate computes every pair of them."""
    anchors, boxes = priors(512), random_boxes(60, 512, (8.0, 64.0))
    exact, computed = rotated.overlaps.box_iou_rotated, []

    def counted(boxes1, boxes2, *options):
        computed.append(len(boxes1))
        return exact(boxes1, boxes2, *options)

    monkeypatch.setattr(rotated.overlaps, 'box_iou_rotated', counted)
    assert (RBboxOverlaps2D()(boxes, anchors) > 0).any()
    assert 10 * sum(computed) < len(boxes) * len(anchors)


@pytest.mark.parametrize('first', KINDS)
@pytest.mark.parametrize('second', KINDS)
def test_no_overlap_exceeds_its_bound(first, second):
    one, other = first(60), second(80)
    pairs = RBboxOverlaps2D().candidates(one, other)
    exact = overlapping_pairs(one, other)
    assert torch.equal(pairs.first, exact.first)
    assert torch.equal(pairs.second, exact.second)
    assert (exact.overlaps <= pairs.bound).all()


def test_memory_follows_the_pairs(monkeypatch):
    """Objects in a corner: many boxes, few of the pairs meet."""
    sizes = []

    def kept(boxes1, boxes2, mode, aligned):
        sizes.append(len(boxes1))
        return boxes1.new_zeros(len(boxes1))

    monkeypatch.setattr(rotated.overlaps, 'box_iou_rotated', kept)
    anchors = priors(512, (8,))
    near = random_boxes(100, 30.0, (4.0, 12.0))
    overlapping_pairs(near, anchors)
    far = near + torch.tensor([5000.0, 0, 0, 0, 0])
    overlapping_pairs(torch.cat([near, far]), anchors)
    assert sizes[0] == sizes[1] < 0.03 * len(near) * len(anchors)
