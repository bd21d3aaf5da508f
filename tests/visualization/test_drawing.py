"""Outlines lie where the boxes are, and can be told apart."""

import numpy as np
import pytest
import torch
from mmrotate.structures.bbox import rbox2qbox

from aerialkd.errors import ShapeError
from aerialkd.visualization.drawing import class_colors, corners, draw_boxes, enlarge

RED = (255, 0, 0)


def blank(height=40, width=60):
    return np.full((height, width, 3), 128, np.uint8)


def changed(image, drawn):
    return (image != drawn).any(axis=2)


def test_corners_of_rotated_boxes_are_those_of_mmrotate():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(1, 50, (9, 4)), rng.uniform(-3, 3, (9, 1))], 1)
    theirs = rbox2qbox(torch.from_numpy(boxes)).numpy().reshape(-1, 4, 2)
    for ours, other in zip(corners(boxes), theirs, strict=True):
        distance = np.linalg.norm(ours[:, None] - other[None], axis=2)
        assert distance.min(axis=1).max() < 1e-6


def test_corners_of_all_kinds_agree():
    horizontal = corners(np.array([[10, 20, 30, 26]]))
    rotated = corners(np.array([[20, 23, 20, 6, 0.0]]))
    polygon = corners(np.array([[10, 20, 30, 20, 30, 26, 10, 26]]))
    assert np.allclose(horizontal, rotated)
    assert np.allclose(horizontal, polygon)
    with pytest.raises(ShapeError, match=r'\(2, 3\)'):
        corners(np.zeros((2, 3)))


def test_an_outline_lies_on_the_border():
    image = blank()
    drawn = draw_boxes(image, np.array([[10, 8, 30, 24]]), [RED])
    assert drawn[8, 20].tolist() == [0, 0, 255]  # BGR
    assert drawn[16, 10].tolist() == [0, 0, 255]
    mask = changed(image, drawn)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    margins = 8 - rows[0], rows[-1] + 1 - 24, 10 - columns[0], columns[-1] + 1 - 30
    assert 2 <= min(margins) <= max(margins) <= 4  # as far outside on all sides
    assert not mask[14:19, 16:25].any()  # nothing inside
    assert not changed(image, blank()).any()  # the original is left alone


def test_patterns_differ():
    boxes, masks = np.array([[6, 6, 46, 34]]), {}
    for pattern in ('solid', 'dashed', 'crossed'):
        drawn = draw_boxes(blank(), boxes, [RED], pattern)
        masks[pattern] = (drawn == (0, 0, 255)).all(axis=2)
    assert masks['dashed'].sum() < 0.8 * masks['solid'].sum()
    assert masks['crossed'][20, 26]  # the diagonal
    assert not masks['solid'][20, 26]


def test_boxes_follow_the_enlargement():
    image, scale = enlarge(blank(), least=150)
    assert (image.shape, scale) == ((120, 180, 3), 3)
    drawn = draw_boxes(image, np.array([[10, 8, 30, 24]]), [RED], scale=scale)
    assert drawn[24, 60].tolist() == [0, 0, 255]


def test_sizes_are_bounded():
    assert enlarge(blank(), least=50)[1] == 1
    assert enlarge(blank(), least=1000)[1] == 3  # no more than three times
    assert enlarge(blank(), least=1000, most=130)[1] == 2
    image, scale = enlarge(blank(), most=30)
    assert (image.shape, scale) == ((20, 30, 3), 0.5)


def test_boxes_far_outside_do_no_harm():
    boxes = np.array([[-1e9, -1e9, 1e9, 1e9], [70, 70, 90, 90]])
    image = blank()
    drawn = draw_boxes(image, boxes, [RED, RED])
    assert not changed(image, drawn).any()


def test_tiny_boxes_are_visible():
    image = blank()
    tiny = np.array([[10, 10, 11, 11], [20, 20, 20, 20]])
    assert changed(image, draw_boxes(image, tiny, [RED, RED], 'dashed')).any()


def test_class_colours_are_distinct_and_repeat():
    colors = class_colors(41)
    assert len(set(colors[:20])) == 20
    assert colors[20] == colors[0] == colors[40]
    assert all(0 <= value <= 255 for color in colors for value in color)
