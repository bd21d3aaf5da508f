import pytest
import torch

from aerialkd.connectors import GenerationBlock, PyramidAligner, channel_aligners
from aerialkd.errors import ConfigError, ShapeError


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


def test_channels_may_differ_between_levels():
    align = PyramidAligner([2, 4], [8, 16])
    levels = torch.randn(1, 2, 8, 8), torch.randn(1, 4, 4, 4)
    assert [level.shape[1] for level in align(levels)] == [8, 16]
    for mistake in ((2, 4), ([2, 4], [8, 16, 32]), ([2, 4], 8, 3)):
        with pytest.raises(ConfigError, match='expected one number of levels'):
            PyramidAligner(*mistake)


def test_generation_keeps_padding_out():
    block = GenerationBlock(3)
    alone = torch.randn(1, 3, 4, 4)
    padded = torch.nn.functional.pad(alone, (0, 2, 0, 1))
    valid = torch.zeros(1, 5, 6, dtype=torch.bool)
    valid[:, :4, :4] = True
    torch.testing.assert_close(block(padded, valid)[..., :4, :4], block(alone))
    assert not torch.allclose(block(padded)[..., :4, :4], block(alone))
    # Without neighbours a cell is regenerated from itself.
    single = GenerationBlock(3, kernel_size=1)
    torch.testing.assert_close(single(padded)[..., :4, :4], single(alone))


def test_activation_behind_each_convolution():
    levels = [torch.randn(1, 4, 6, 6), torch.randn(1, 4, 3, 3)]
    plain = PyramidAligner(4, 5, 2, kernel_size=3)
    active = PyramidAligner(4, 5, 2, kernel_size=3, act_cfg=dict(type='ReLU'))
    active.load_state_dict(plain.state_dict())
    for before, after in zip(plain(levels), active(levels), strict=True):
        assert (before < 0).any()
        assert after.equal(before.clamp(min=0))


def test_aligners_where_channels_differ():
    aligners, channels = channel_aligners(None, 8, 8)
    assert channels == [8]
    assert isinstance(aligners[0], torch.nn.Identity)
    aligners, channels = channel_aligners(3, 4, 8)
    assert [a.weight.shape for a in aligners] == [(8, 4, 1, 1)] * 3
    aligners, channels = channel_aligners(None, [4, 8], 8)
    assert [isinstance(a, torch.nn.Identity) for a in aligners] == [False, True]
    with pytest.raises(ConfigError, match='expected one number of levels'):
        channel_aligners(3, [4, 8], 8)
