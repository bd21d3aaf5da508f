import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional import (
    channel_wise_divergence,
    match_statistics,
    pearson_loss,
)


def oracle(s, t):
    """One minus numpy's correlation coefficient, averaged over the channels."""
    m = s.shape[0] * s.shape[2] * s.shape[3]
    correlations = [
        np.corrcoef(s[:, c].ravel(), t[:, c].ravel())[0, 1] for c in range(s.shape[1])
    ]
    return (m - 1) / m * (1 - np.mean(correlations))


def features(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def test_worked_example():
    # One channel of two cells: standardised to -+1/sqrt(2) and +-1/sqrt(2).
    s = torch.tensor([[[[0.0, 2.0]]]], dtype=torch.float64)
    t = torch.tensor([[[[5.0, 1.0]]]], dtype=torch.float64)
    # mean over both cells of (sqrt(2))^2 / 2 = 1 = (2 - 1) / 2 * (1 - (-1))
    assert pearson_loss(s, t).item() == pytest.approx(1.0, abs=1e-5)
    assert pearson_loss(s, -t).item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize('shape', [(1, 1, 3, 5), (2, 4, 6, 3), (3, 2, 1, 2)])
def test_matches_correlation_coefficients(shape):
    s, t = features(*shape), 3 * features(*shape) + 7
    expected = oracle(s.numpy(), t.numpy())
    assert pearson_loss(s, t).item() == pytest.approx(expected, abs=1e-5)


def test_zero_for_the_same_pattern_at_another_scale():
    t = features(2, 3, 5, 5)
    assert pearson_loss(4 * t - 2, t).item() == pytest.approx(0, abs=1e-9)


def test_gradient():
    s, t = features(2, 3, 4, 3).requires_grad_(), features(2, 3, 4, 3)
    assert gradcheck(lambda s: pearson_loss(s, t), (s,))


def test_teacher_gets_no_gradient():
    s = features(1, 2, 3, 3).requires_grad_()
    t = features(1, 2, 3, 3).requires_grad_()
    pearson_loss(s, t).backward()
    assert s.grad.abs().sum() > 0
    assert t.grad is None


@pytest.mark.parametrize('value', [0.0, 0.1, 100.0, -3e4])
def test_constant_channels_are_finite_and_give_no_gradient(value):
    s = torch.full((2, 2, 5, 5), value)
    s[:, 1] = torch.randn(2, 5, 5)
    s.requires_grad_()
    loss = pearson_loss(s, torch.randn(2, 2, 5, 5))
    loss.backward()
    assert torch.isfinite(loss)
    assert s.grad[:, 0].abs().max() == 0
    assert s.grad[:, 1].abs().max() > 0


def test_single_cell_is_zero_and_attached():
    s = torch.randn(1, 4, 1, 1, requires_grad=True)
    loss = pearson_loss(s, torch.randn(1, 4, 1, 1))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(s.grad).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    s, t = torch.randn(2, 3, 40, 40) * 30, torch.randn(2, 3, 40, 40) * 30
    half = pearson_loss(s.to(dtype), t.to(dtype))
    assert half.item() == pytest.approx(pearson_loss(s, t).item(), rel=1e-2)


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r'\(1, 2, 3, 3\).*PyramidAligner'):
        pearson_loss(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 3, 3))


class TestChannelWiseDivergence:
    @staticmethod
    def oracle(s, t, tau):
        total = 0.0
        for s_i, t_i in zip(s, t, strict=True):
            for s_c, t_c in zip(s_i, t_i, strict=True):
                p, q = np.exp(s_c / tau), np.exp(t_c / tau)
                p, q = p / p.sum(), q / q.sum()
                total += (q * np.log(q / p)).sum()
        return tau**2 * total / (s.shape[0] * s.shape[1])

    @pytest.mark.parametrize('tau', [0.5, 1.0, 4.0])
    def test_matches_the_formula(self, tau):
        s, t = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
        expected = self.oracle(s.numpy(), t.numpy(), tau)
        found = channel_wise_divergence(s, t, tau).item()
        assert found == pytest.approx(expected, rel=1e-10)

    def test_worked_example(self):
        # Student (1/2, 1/2), teacher (1/4, 3/4) in one channel, equal in the other.
        s = torch.zeros(1, 2, 1, 2, dtype=torch.float64)
        t = torch.zeros(1, 2, 1, 2, dtype=torch.float64)
        t[0, 0, 0, 1] = np.log(3)
        by_hand = (np.log(1 / 2) / 4 + 3 * np.log(3 / 2) / 4) / 2
        assert channel_wise_divergence(s, t).item() == pytest.approx(by_hand)

    def test_knows_where_not_how_much(self):
        t = torch.randn(1, 3, 4, 4)
        offset = torch.randn(1, 3, 1, 1)
        assert channel_wise_divergence(t + offset, t).item() == pytest.approx(
            0, abs=1e-6
        )
        assert channel_wise_divergence(2 * t, t).item() > 1e-2

    def test_hot_limit_is_half_the_variance_of_the_difference(self):
        s, t = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
        limit = (s - t).flatten(2).var(2, unbiased=False).mean().item() / 2
        found = channel_wise_divergence(s, t, 1e4).item()
        assert found == pytest.approx(limit, rel=1e-3)

    def test_gradient_of_the_student_alone(self):
        s, t = torch.randn(2, 1, 2, 2, 3, dtype=torch.float64)
        s.requires_grad_()
        assert gradcheck(lambda s: channel_wise_divergence(s, t, 2.0), (s,))
        t.requires_grad_()
        channel_wise_divergence(s, t).backward()
        assert t.grad is None

    def test_peaked_constant_and_single_cell_maps(self):
        """softmax().log() would be NaN on the first."""
        t = torch.zeros(1, 1, 2, 2)
        t[..., 0, 0] = 1e4
        for size in ((2, 2), (1, 1)):
            s = torch.zeros(1, 1, *size, requires_grad=True)
            value = channel_wise_divergence(s, t[..., : size[0], : size[1]])
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(s.grad).all()
        assert value.item() == 0  # of one cell

    def test_average_over_the_images(self):
        s, t = torch.randn(2, 4, 3, 4, 4)
        halves = [channel_wise_divergence(s[i], t[i]).item() for i in ([0, 1], [2, 3])]
        whole = channel_wise_divergence(s, t).item()
        assert whole == pytest.approx(np.mean(halves), rel=1e-5)

    def test_half_precision_and_mistakes(self):
        s, t = 3 * torch.randn(2, 2, 8, 16, 16)
        half = channel_wise_divergence(s.bfloat16(), t.bfloat16())
        assert half.dtype == torch.float32
        full = channel_wise_divergence(s, t).item()
        assert half.item() == pytest.approx(full, rel=2e-2)
        with pytest.raises(ShapeError, match='must have the same shape'):
            channel_wise_divergence(s, t[..., 1:])
        with pytest.raises(ConfigError, match='tau: got -1'):
            channel_wise_divergence(s, t, -1)


class TestMatchStatistics:
    def test_worked_by_hand(self):
        # Mean 1, deviation sqrt(2); mean 7, deviation sqrt(8).
        s, t = torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[5.0], [9.0]]]])
        assert match_statistics(s, t).flatten().tolist() == pytest.approx([5, 9])

    def test_numpy_oracle(self):
        s, t = (
            torch.randn(3, 4, 5, 6).double() * 3 + 1,
            torch.randn(2, 4, 7, 3).double(),
        )
        matched = match_statistics(s, t).numpy()
        for channel in range(4):
            a, b = (x[:, channel].numpy() for x in (s, t))
            unit = (a - a.mean()) / (a.std(ddof=1) + 1e-6)
            expected = unit * b.std(ddof=1) + b.mean()
            np.testing.assert_allclose(matched[:, channel], expected, rtol=1e-9)

    def test_own_statistics_change_nothing(self):
        s = 5 * torch.randn(2, 3, 4, 4) - 2
        torch.testing.assert_close(match_statistics(s, s), s, rtol=1e-5, atol=1e-5)

    def test_gradient_to_the_student_alone(self):
        s = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
        t = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda s: match_statistics(s, t), (s,))
        match_statistics(s, t).square().sum().backward()
        assert s.grad is not None
        assert t.grad is None

    @pytest.mark.parametrize('size', [(2, 1, 4, 4), (1, 1, 1, 1)])
    def test_nothing_to_standardise(self, size):
        """A constant channel, a single cell: what is left is the teacher's mean."""
        s = torch.full(size, 3.0, requires_grad=True)
        t = torch.randn(size)
        matched = match_statistics(s, t)
        torch.testing.assert_close(matched, t.mean().expand(size))
        matched.square().sum().backward()
        assert s.grad.abs().max() == 0
        torch.testing.assert_close(
            match_statistics(torch.randn(2, 1, 4, 4), torch.full(size, 3.0)),
            torch.full((2, 1, 4, 4), 3.0),
        )

    def test_half_precision(self):
        s, t = 300 * torch.randn(2, 2, 8, 8), torch.randn(2, 2, 8, 8)
        low = match_statistics(s.half(), t.half())
        assert low.dtype == torch.float16
        torch.testing.assert_close(
            low.float(), match_statistics(s, t), rtol=1e-2, atol=1e-2
        )

    def test_channels_must_be_the_same(self):
        with pytest.raises(ShapeError, match='must have as many channels'):
            match_statistics(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4))
