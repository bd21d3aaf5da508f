import pytest
import torch
from mmrotate.structures.bbox import QuadriBoxes, RotatedBoxes

from aerialkd.structures import nearest_cells, scaled_boxes


def test_lengths_scale_and_angles_do_not():
    boxes = torch.tensor([[4.0, 8.0, 2.0, 6.0, 0.5]])
    scaled = scaled_boxes(RotatedBoxes(boxes), 1.5)
    assert isinstance(scaled, RotatedBoxes)
    assert scaled.tensor.tolist() == [[6, 12, 3, 9, 0.5]]
    assert boxes.tolist() == [[4, 8, 2, 6, 0.5]]  # not changed
    assert scaled_boxes(torch.ones(2, 4), 3).tolist() == [[3] * 4] * 2
    assert scaled_boxes(QuadriBoxes(torch.ones(1, 8)), 2).tensor.tolist() == [[2] * 8]
    assert scaled_boxes(torch.zeros(0, 4), 2).shape == (0, 4)


@pytest.mark.parametrize('step', [0.5, 2 / 3, 1, 1.5, 2, 3])
@pytest.mark.parametrize('length', [1, 2, 5, 12])
def test_every_cell_is_the_one_that_holds_its_corner(step, length):
    row = torch.arange(length).view(1, 1, 1, -1).expand(1, 1, 3, -1)
    out = nearest_cells(row, (1, step), (3, 8))[0, 0, 0].tolist()
    for index, cell in enumerate(out):
        at = round(index * step * 6) // 6  # sixths are exact
        assert cell == min(at, length - 1)


def test_a_step_may_be_rounded():
    """Steps are quotients of strides: 3 * (2 / 3) cells further is cell 2."""
    row = torch.arange(8).view(1, 1, 1, -1)
    below = 2 / 3 - 1e-12
    assert nearest_cells(row, (1, below))[0, 0, 0, :7].tolist() == [0, 0, 1, 2, 2, 3, 4]
    assert nearest_cells(row, (1, 2 / 3 + 1e-12)).shape[-1] == 12


def test_size_by_default_is_what_the_map_covers():
    feat = torch.zeros(1, 1, 5, 8)
    assert nearest_cells(feat, (2 / 3, 2)).shape == (1, 1, 7, 4)
    assert nearest_cells(feat, (1, 1)).shape == (1, 1, 5, 8)
    assert nearest_cells(feat, (1, 1), (4, 9)).shape == (1, 1, 4, 9)


def test_gradients_add_up_where_cells_are_repeated():
    feat = torch.zeros(1, 1, 2, 2, requires_grad=True)
    nearest_cells(feat, (0.5, 1)).sum().backward()
    assert feat.grad.flatten().tolist() == [2, 2, 2, 2]
