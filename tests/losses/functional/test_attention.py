import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional import area_softmax, spatial_channel_attention


def attention_oracle(feat, temperature):
    """FGD's attention, an image and a cell at a time."""
    num, channels, height, width = feat.shape
    spatial, channel = np.zeros((num, height, width)), np.zeros((num, channels))
    for n in range(num):
        at_cell = [
            np.exp(
                np.mean([abs(feat[n, c, y, x]) for c in range(channels)]) / temperature
            )
            for y in range(height)
            for x in range(width)
        ]
        spatial[n] = np.reshape(at_cell, (height, width)) / sum(at_cell)
        in_channel = [
            np.exp(np.sum(np.abs(feat[n, c])) / (height * width) / temperature)
            for c in range(channels)
        ]
        channel[n] = np.array(in_channel) / sum(in_channel)
    return spatial * height * width, channel * channels


def test_attention_worked_example():
    # Means over the channels: ln 3 and 0 at T = 1, so that the softmax is 3/4 and 1/4.
    ln3 = float(np.log(3))
    feat = torch.tensor([[[[ln3, 0.0]], [[-ln3, 0.0]]]], dtype=torch.float64)
    spatial, channel = spatial_channel_attention(feat, 1.0)
    np.testing.assert_allclose(spatial, [[[1.5, 0.5]]], atol=1e-12)
    np.testing.assert_allclose(channel, [[1.0, 1.0]], atol=1e-12)
    sharper, _ = spatial_channel_attention(feat, 0.5)  # 9/10 and 1/10
    np.testing.assert_allclose(sharper, [[[1.8, 0.2]]], atol=1e-12)


@pytest.mark.parametrize('shape', [(1, 1, 3, 5), (2, 4, 6, 3), (3, 2, 1, 1)])
def test_attention_matches_the_formula(shape):
    feat = 3 * torch.randn(*shape, dtype=torch.float64)
    spatial, channel = spatial_channel_attention(feat, 0.7)
    expected = attention_oracle(feat.numpy(), 0.7)
    np.testing.assert_allclose(spatial, expected[0], atol=1e-10)
    np.testing.assert_allclose(channel, expected[1], atol=1e-10)


def test_attention_has_mean_one_even_where_it_saturates():
    feat = 1e4 * torch.randn(2, 3, 5, 5)
    spatial, channel = spatial_channel_attention(feat, 0.5)
    assert spatial.mean((1, 2)).tolist() == pytest.approx([1, 1])
    assert channel.mean(1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize('value', [0.0, 0.1, -7.0])
def test_no_cell_of_a_constant_map_is_above_average(value):
    spatial, channel = spatial_channel_attention(torch.full((1, 3, 7, 9), value), 0.5)
    assert (spatial <= 1).all()
    assert (channel <= 1).all()


def test_padding_has_no_attention_and_no_influence():
    feat = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    valid = torch.zeros(2, 4, 6, dtype=torch.bool)
    valid[0, :3, :4], valid[1] = True, True
    spatial, channel = spatial_channel_attention(feat, 0.5, valid)
    alone = spatial_channel_attention(feat[:1, :, :3, :4], 0.5)
    whole = spatial_channel_attention(feat[1:], 0.5)
    torch.testing.assert_close(spatial[:1, :3, :4], alone[0])
    torch.testing.assert_close(channel[:1], alone[1])
    torch.testing.assert_close(spatial[1:], whole[0])
    torch.testing.assert_close(channel[1:], whole[1])
    assert spatial[0][~valid[0]].abs().max() == 0


def test_attention_gradient():
    feat = torch.randn(1, 2, 3, 2, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda f: spatial_channel_attention(f, 0.5), (feat,))


def test_attention_of_half_precision():
    feat = 3 * torch.randn(1, 8, 20, 20)
    half = spatial_channel_attention(feat.bfloat16(), 0.5)
    for a, b in zip(half, spatial_channel_attention(feat, 0.5), strict=True):
        torch.testing.assert_close(a, b, rtol=5e-2, atol=1e-2)


def test_attention_refuses_mistakes():
    with pytest.raises(ShapeError, match=r'expected \(N, C, H, W\)'):
        spatial_channel_attention(torch.zeros(3, 4, 4), 0.5)
    with pytest.raises(ConfigError, match='temperature: got 0'):
        spatial_channel_attention(torch.zeros(1, 3, 4, 4), 0)
    with pytest.raises(ShapeError, match=r'valid: got \(1, 4, 5\)'):
        spatial_channel_attention(
            torch.zeros(1, 3, 4, 4), 0.5, torch.ones(1, 4, 5, dtype=torch.bool)
        )


# Three boxes in an image of 100 x 100: 10 x 10, 20 x 20, 50 x 40 pixels; on a level of
# stride 10 they cover 1, 4 and 20 cells.
@pytest.mark.parametrize(
    ('areas', 'expected'),
    [
        # exp(-.01/20), exp(-.04/20), exp(-.2/20): nearly equal
        ((0.01, 0.04, 0.20), (0.334555, 0.334053, 0.331392)),
        # exp(-1/20), exp(-4/20), exp(-20/20)
        ((1.0, 4.0, 20.0), (0.444949, 0.382971, 0.172080)),
        # 100, 400, 2000 pixels: exp(-15) for the second already
        ((100.0, 400.0, 2000.0), (0.9999997, 3.059e-7, 0.0)),
    ],
    ids=['relative', 'cell', 'pixel'],
)
def test_area_softmax_in_three_units(areas, expected):
    weights = area_softmax(torch.tensor(areas, dtype=torch.float64))
    np.testing.assert_allclose(weights, expected, atol=5e-7)
    assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize('scale', [1.0, 1e6])
def test_the_bias_is_inert(scale):
    areas = scale * torch.rand(7)
    without = area_softmax(areas, bias=0.0)
    assert torch.equal(area_softmax(areas, bias=0.005), without) or torch.allclose(
        area_softmax(areas, bias=0.005), without, rtol=1e-6, atol=0
    )
    assert torch.allclose(area_softmax(areas, bias=0.7), without, rtol=1e-6, atol=0)


def test_smaller_objects_weigh_more_and_infinite_ones_nothing():
    weights = area_softmax(torch.tensor([30.0, 10.0, torch.inf]), temperature=5.0)
    assert weights[1] > weights[0] > 0
    assert weights[2] == 0
    assert area_softmax(torch.zeros(0)).shape == (0,)
    assert area_softmax(torch.tensor([3])).tolist() == [1.0]
    with pytest.raises(ConfigError, match='temperature: got -1'):
        area_softmax(torch.ones(2), temperature=-1)
