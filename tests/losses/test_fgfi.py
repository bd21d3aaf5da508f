import copy

import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.losses import FGFILoss, PositionAwareL2Loss
from aerialkd.losses.functional import key_position_mask
from tests.builders import retinanet
from tests.contexts import NONE, SIZES, head_of
from tests.contexts import with_boxes as context

BOXES = ([[3.0, 5, 30, 21], [20.0, 24, 60, 60]], NONE)


def maps():
    return [torch.randn(2, 4, *size) for size in SIZES]


def batch(kind='horizontal', boxes=BOXES):
    head = head_of(kind)
    heads = (head, copy.deepcopy(head))
    return context(*boxes, input_shape=(64, 64), heads=heads)


def iou(box, anchor):
    low = [max(a, b) for a, b in zip(box[:2], anchor[:2], strict=True)]
    high = [min(a, b) for a, b in zip(box[2:], anchor[2:], strict=True)]
    overlap = max(high[0] - low[0], 0) * max(high[1] - low[1], 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, anchor)]
    return overlap / (sum(areas) - overlap)


def test_matches_the_formula():
    """Half the squared difference at anchors that overlap half as well as the best."""
    s, t = maps(), maps()
    generator = MODELS.build(retinanet()).bbox_head.prior_generator
    total = 0.0
    for level, size in enumerate(SIZES):
        anchors = generator.single_level_grid_priors(size, level, device='cpu')
        key = torch.zeros(size, dtype=torch.bool)
        for box in BOXES[0]:
            ious = torch.tensor([iou(box, a.tolist()) for a in anchors]).view(*size, -1)
            key |= (ious > 0.5 * ious.max()).any(-1)
            assert key_position_mask(ious[..., None], 0.5).logical_and(~key).sum() == 0
        squared = (s[level][0] - t[level][0]).square().sum(0)[key].sum()
        total += squared.item() / (2 * max(key.sum().item(), 1))
    assert FGFILoss()(s, t, batch()).item() == pytest.approx(0.01 * total, rel=1e-5)


@pytest.mark.parametrize('kind', ['horizontal', 'rotated'])
def test_is_half_of_zoominnets_with_a_fixed_factor(kind):
    s, t = maps(), maps()
    rotated = torch.tensor([[20.0, 20, 24, 8, 0.5]])
    boxes = BOXES if kind == 'horizontal' else (rotated, rotated[:0])
    other = PositionAwareL2Loss(threshold=0.5)
    whole = other(s, t, batch(kind, boxes)).item()
    assert whole > 0
    assert FGFILoss()(s, t, batch(kind, boxes)).item() == pytest.approx(whole / 2)
    (shown,) = FGFILoss().spatial_maps(s, t, batch(kind, boxes)).values()
    (twice,) = other.spatial_maps(s, t, batch(kind, boxes)).values()
    assert all((2 * a).equal(b) for a, b in zip(shown, twice, strict=True))


def test_without_boxes_it_is_zero_and_attached():
    s = [x.requires_grad_() for x in maps()]
    value = FGFILoss()(s, maps(), batch(boxes=(NONE, NONE)))
    value.backward()
    assert value.item() == 0
    assert all(x.grad is not None for x in s)
