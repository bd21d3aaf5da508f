"""Overlaps against exact polygons."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
import torch

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.ops import quadrilateral_overlaps, rotated_overlaps
from aerialkd.ops.areas import areas_of, bounds
from tests.ops.cases import adversarial, corners_of, scene

pytestmark = pytest.mark.rounding


def exact(quads1, quads2, mode='iou'):
    """IoU of aligned quadrilaterals, from polygons in double precision."""
    first, second = (
        shapely.polygons(quads.double().numpy().reshape(-1, 4, 2))
        for quads in (quads1, quads2)
    )
    shared = shapely.area(shapely.intersection(first, second))
    area = shapely.area(first)
    base = area + shapely.area(second) - shared if mode == 'iou' else area
    found = np.divide(shared, base, out=np.zeros_like(base), where=base > 0)
    return torch.from_numpy(found)


def pairs_of(boxes):
    first, second = torch.cartesian_prod(
        torch.arange(len(boxes)), torch.arange(len(boxes))
    ).unbind(1)
    return boxes[first], boxes[second]


def convex(n, seed):
    """Convex quadrilaterals that are no rectangles, around each other."""
    rng = torch.Generator().manual_seed(seed)
    angle = torch.rand(n, 4, generator=rng).sort(1)[0] * 2 * math.pi
    radius = torch.rand(n, 1, 1, generator=rng) * 40 + 5
    centre = torch.rand(n, 1, 2, generator=rng) * 50 + 300
    outline = torch.stack([angle.cos(), angle.sin()], -1) * radius + centre
    return outline.reshape(n, 8)


@pytest.mark.parametrize('mode', ['iou', 'iof'])
@pytest.mark.parametrize(('dtype', 'error'), [('float32', 5e-5), ('float64', 1e-12)])
def test_rotated(mode, dtype, error):
    boxes = torch.cat([scene(80, 8, 0)[0], adversarial()]).to(getattr(torch, dtype))
    first, second = pairs_of(boxes)
    quads = (corners_of(first.double()), corners_of(second.double()))
    found = rotated_overlaps(first, second, mode, aligned=True)
    assert found.dtype == boxes.dtype
    assert (found - exact(*quads, mode)).abs().max() < error
    matrix = rotated_overlaps(boxes, boxes, mode)
    assert torch.equal(matrix.flatten(), found)
    assert (found >= 0).all()
    assert (found <= 1).all()


@pytest.mark.parametrize('mode', ['iou', 'iof'])
@pytest.mark.parametrize(('dtype', 'error'), [('float32', 5e-5), ('float64', 1e-12)])
def test_quadrilaterals(mode, dtype, error):
    quads = torch.cat([convex(80, 0), corners_of(adversarial())])
    quads = quads.to(getattr(torch, dtype))
    first, second = pairs_of(quads)
    found = quadrilateral_overlaps(first, second, mode, aligned=True)
    assert (found - exact(first, second, mode)).abs().max() < error
    assert torch.equal(quadrilateral_overlaps(quads, quads, mode).flatten(), found)


def test_either_way_around_and_any_first_corner():
    first, second = convex(50, 1), convex(50, 2)
    expected = quadrilateral_overlaps(first, second, aligned=True)
    assert (expected > 0.1).sum() > 5
    for shift, back in ((0, True), (1, False), (3, True)):
        turned = second.reshape(-1, 4, 2).roll(shift, 1)
        turned = (turned.flip(1) if back else turned).reshape(-1, 8)
        found = quadrilateral_overlaps(first, turned, aligned=True)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_outlines_with_a_dent():
    dart = torch.tensor([[0.0, 0, 10, 0, 4, 4, 0, 10]])  # 4 of 5 corners of a square
    square = torch.tensor([[0.0, 0, 10, 0, 10, 10, 0, 10]])
    inner = torch.tensor([[5.0, 5, 9, 5, 9, 9, 5, 9]])  # in the dent
    for turn in range(4):  # whichever corner comes first
        shape = dart.reshape(1, 4, 2).roll(turn, 1).reshape(1, 8)
        assert quadrilateral_overlaps(shape, square, 'iou').item() == pytest.approx(0.4)
        assert quadrilateral_overlaps(square, shape, 'iou').item() == pytest.approx(0.4)
        assert quadrilateral_overlaps(shape, inner).item() == pytest.approx(0, abs=1e-6)
        assert quadrilateral_overlaps(inner, shape).item() == pytest.approx(0, abs=1e-6)


def test_same_boxes_in_single_precision_are_the_same():
    # The compiled operator has 1/3 for some of them.
    boxes = scene(2000, 400, 3)[0] + 1000
    assert torch.equal(rotated_overlaps(boxes, boxes, aligned=True), torch.ones(2000))


def test_boxes_apart_share_exactly_nothing():
    # Diagonal neighbours, whose bounds meet.
    first = scene(20000, 400, 5)[0]
    second = first.flip(0)
    quads = corners_of(first.double()), corners_of(second.double())
    apart = exact(*quads) == 0
    gap = shapely.distance(
        *(shapely.polygons(q.numpy().reshape(-1, 4, 2)) for q in quads)
    )
    found = rotated_overlaps(first, second, aligned=True)
    assert (apart & (torch.from_numpy(gap) < 20)).sum() > 500
    assert not found[apart & (torch.from_numpy(gap) > 1e-3)].any()


def test_symmetric():
    first, second = scene(300, 5, 4)[0], scene(300, 5, 4)[0].flip(0)
    there = rotated_overlaps(first, second, aligned=True)
    back = rotated_overlaps(second, first, aligned=True)
    torch.testing.assert_close(there, back, atol=1e-5, rtol=0)


def test_half_precision_and_nothing():
    boxes = torch.tensor([[300.0, 300, 20, 10, 0.5]]).half()
    assert rotated_overlaps(boxes, boxes).tolist() == [[1.0]]
    assert rotated_overlaps(boxes[:0], boxes).shape == (0, 1)
    assert rotated_overlaps(boxes[:0], boxes[:0], aligned=True).shape == (0,)


@pytest.mark.parametrize(
    ('columns1', 'columns2', 'n', 'aligned'),
    [(5, 6, 2, False), (8, 8, 2, False), (5, 5, 3, True)],
)
def test_boxes_that_do_not_fit(columns1, columns2, n, aligned):
    with pytest.raises(ShapeError, match=r'expected \(\w, 5\)'):
        rotated_overlaps(
            torch.ones(2, columns1), torch.ones(n, columns2), aligned=aligned
        )


def test_unknown_mode():
    with pytest.raises(ConfigError, match="'giou', expected 'iou' or 'iof'"):
        quadrilateral_overlaps(torch.ones(1, 8), torch.ones(1, 8), 'giou')


def test_bounds_and_areas():
    boxes = scene(100, 20, 6)[0].double()
    points = corners_of(boxes).reshape(-1, 4, 2)
    for shape in (boxes, corners_of(boxes)):
        low, high = bounds(shape)
        torch.testing.assert_close(low, points.amin(1))
        torch.testing.assert_close(high, points.amax(1))
        torch.testing.assert_close(areas_of(shape), boxes[:, 2] * boxes[:, 3])
