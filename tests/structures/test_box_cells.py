import math

import pytest
import torch

from aerialkd.errors import BoxTypeError, ShapeError
from aerialkd.structures import box_cells


def draw(boxes, feat_size=(4, 4), input_shape=(32, 32), image=None, num_images=1):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    image = torch.zeros(len(boxes), dtype=torch.long) if image is None else image
    return box_cells(boxes, image, num_images, feat_size, input_shape)


def brute_force(boxes, feat_size, input_shape):
    """The reading of the docstring, one box and one cell at a time."""
    height, width = feat_size
    sx, sy = width / input_shape[1], height / input_shape[0]
    mask = torch.zeros(len(boxes), height, width)
    for q, box in enumerate(boxes):
        for y in range(height):
            for x in range(width):
                if len(box) == 4:
                    x1, y1, x2, y2 = box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy
                    outside = x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height
                    hit = math.floor(x1) <= x <= math.ceil(x2) and (
                        math.floor(y1) <= y <= math.ceil(y2)
                    )
                    mask[q, y, x] = float(hit and not outside)
                else:
                    cx, cy, w, h, angle = box
                    dx, dy = (x + 0.5) / sx - cx, (y + 0.5) / sy - cy
                    u = dx * math.cos(angle) + dy * math.sin(angle)
                    v = -dx * math.sin(angle) + dy * math.cos(angle)
                    centre = math.floor(cx * sx) == x and math.floor(cy * sy) == y
                    mask[q, y, x] = float(
                        (abs(u) <= w / 2 and abs(v) <= h / 2) or centre
                    )
    return mask


def test_horizontal_box_takes_floor_to_ceil_inclusive():
    # 8..15 px at stride 8: floor(1) = 1 to ceil(1.875) = 2 inclusive.
    mask = draw([[8.0, 0.0, 15.0, 7.0]]).draw()[0]
    assert mask.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_rotated_box_takes_cell_centres_inside():
    # 24 x 4 px bar at 90 degrees around (12, 16): a vertical bar in column 1.
    mask = draw([[12.0, 16.0, 24.0, 4.0, math.pi / 2]]).draw()[0]
    assert mask.tolist() == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]


def test_rotated_box_smaller_than_a_cell_keeps_the_cell_of_its_centre():
    mask = draw([[9.0, 17.0, 1.0, 1.0, 0.3]]).draw()[0]
    assert mask.nonzero().tolist() == [[2, 1]]


def test_diagonal_bar_is_not_its_bounding_box():
    mask = draw([[16.0, 16.0, 60.0, 4.0, math.pi / 4]], (32, 32)).draw()[0]
    assert mask.diagonal().all()
    assert mask[0, -1] == 0
    assert mask.sum() < 32 * 10


@pytest.mark.parametrize('rotated', [False, True])
@pytest.mark.parametrize(
    ('feat_size', 'input_shape'),
    [((7, 9), (112, 144)), ((5, 6), (70, 90)), ((1, 1), (8, 8))],
)
def test_matches_brute_force(rotated, feat_size, input_shape):
    torch.manual_seed(3)
    count, (height, width) = 40, input_shape
    centre = (torch.rand(count, 2) * 1.6 - 0.3) * torch.tensor([width, height])
    size = torch.rand(count, 2) ** 3 * width
    if rotated:
        angle = (torch.rand(count, 1) - 0.5) * 2 * math.pi
        boxes = torch.cat([centre, size, angle], 1)
    else:
        boxes = torch.cat([centre - size / 2, centre + size / 2], 1)
    cells = box_cells(boxes, torch.arange(count), count, feat_size, input_shape)
    expected = brute_force(boxes.double().tolist(), feat_size, input_shape)
    assert torch.equal(cells.draw(), expected)
    assert torch.equal(cells.count, expected.sum((1, 2)).long())


def test_overlap_takes_the_requested_reduction():
    boxes = [[0.0, 0.0, 31.0, 31.0], [0.0, 0.0, 7.0, 7.0]]
    cells = draw(boxes)
    values = torch.tensor([0.25, 0.75])
    assert cells.draw(values)[0, 0, 0] == 0.75
    assert cells.draw(values, 'amin')[0, 0, 0] == 0.25
    assert cells.draw(values, 'sum')[0, 0, 0] == 1.0
    assert cells.draw(values)[0, 3, 3] == 0.25


def test_images_are_kept_apart():
    cells = draw(
        [[0.0, 0.0, 7.0, 7.0], [24.0, 24.0, 31.0, 31.0]],
        image=torch.tensor([1, 0]),
        num_images=3,
    )
    mask = cells.draw()
    assert mask[1, 0, 0] == 1
    assert mask[0, 0, 0] == 0
    assert mask[0, 3, 3] == 1
    assert mask[2].sum() == 0


@pytest.mark.parametrize('columns', [4, 5])
def test_no_boxes(columns):
    boxes = torch.zeros(0, columns)
    cells = box_cells(boxes, torch.zeros(0, dtype=torch.long), 2, (4, 4), (32, 32))
    assert cells.draw().shape == (2, 4, 4)
    assert cells.draw().sum() == 0
    assert cells.count.shape == (0,)


def test_boxes_outside_the_input_cover_nothing():
    outside = [[-9.0, 0.0, 0.0, 8.0], [32.0, 0.0, 40.0, 8.0], [0.0, 50.0, 8.0, 60.0]]
    assert draw(outside).count.tolist() == [0, 0, 0]


def test_other_columns_are_refused():
    with pytest.raises(BoxTypeError, match=r'\(1, 8\)'):
        draw([[0.0] * 8])
    with pytest.raises(ShapeError, match='one value for each of the 1 boxes'):
        draw([[0.0, 0.0, 9.0, 9.0]]).draw(torch.ones(2))
