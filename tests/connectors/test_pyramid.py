import pytest
import torch

from aerialkd.connectors import PyramidAligner
from aerialkd.errors import ShapeError


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_aligns_every_level_with_its_own_convolution(kernel_size):
    align = PyramidAligner(4, 6, num_levels=2, kernel_size=kernel_size)
    levels = torch.randn(1, 4, 7, 5), torch.randn(1, 4, 1, 2)
    out = align(levels)
    assert [tuple(level.shape) for level in out] == [(1, 6, 7, 5), (1, 6, 1, 2)]
    assert torch.equal(out[1], align.convs[1](levels[1]))


def test_other_number_of_levels_is_refused():
    with pytest.raises(ShapeError, match='2 levels, got 1'):
        PyramidAligner(4, 6, num_levels=2)((torch.zeros(1, 4, 2, 2),))
