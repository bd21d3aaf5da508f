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
    out = nearest_cells(row, (1, step))
    assert out.shape[2] == 3
    sixths = round(step * 6)  # exact
    starts = [i * sixths // 6 for i in range(30) if i * sixths < 6 * length]
    assert out[0, 0, 0].tolist() == starts


def test_a_step_may_be_rounded():
    """Steps are quotients of strides: 3 * (2 / 3) cells further is cell 2."""
    row = torch.arange(8).view(1, 1, 1, -1)
    for step in (2 / 3 - 1e-12, 2 / 3 + 1e-12):
        out = nearest_cells(row, (1, step))[0, 0, 0].tolist()
        assert out == [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7]


def test_gradients_add_up_where_cells_are_repeated():
    feat = torch.zeros(1, 1, 2, 2, requires_grad=True)
    nearest_cells(feat, (0.5, 1)).sum().backward()
    assert feat.grad.flatten().tolist() == [2, 2, 2, 2]
