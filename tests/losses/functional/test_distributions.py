import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional import localization_kd

pytestmark = pytest.mark.rounding


def logits(*shape):
    return 3 * torch.randn(*shape, dtype=torch.float64)


def oracle(s, t, tau):
    """One number at a time: cross entropy less entropy, divided by the bins."""
    rows = []
    for one, other in zip(s, t, strict=True):
        q, p = (np.exp(x / tau) / np.exp(x / tau).sum() for x in (one, other))
        crossed = -sum(p[k] * np.log(q[k]) for k in range(len(p)))
        entropy = -sum(p[k] * np.log(p[k]) for k in range(len(p)))
        rows.append(tau * tau * (crossed - entropy) / len(p))
    return np.array(rows)


def test_worked_example():
    # Softened by 2: student (1/2, 1/2), teacher (1/4, 3/4); the mean of two bins.
    s = torch.zeros(1, 2, dtype=torch.float64)
    t = torch.tensor([[0.0, 2 * np.log(3)]], dtype=torch.float64)
    expected = 4 * (np.log(1 / 2) / 4 + 3 * np.log(3 / 2) / 4) / 2
    assert localization_kd(s, t, 2.0).item() == pytest.approx(expected)


@pytest.mark.parametrize('tau', [0.5, 1.0, 10.0])
@pytest.mark.parametrize('bins', [2, 17])
def test_matches_the_formula(tau, bins):
    s, t = logits(6, bins), logits(6, bins)
    found = localization_kd(s, t, tau)
    assert found.shape == (6,)
    np.testing.assert_allclose(found, oracle(s.numpy(), t.numpy(), tau), atol=1e-10)


def test_default_temperature_is_the_papers():
    s, t = logits(3, 8), logits(3, 8)
    assert torch.equal(localization_kd(s, t), localization_kd(s, t, 10.0))


def test_zero_where_the_distributions_are_equal_and_never_below():
    t = logits(200, 5)
    assert localization_kd(t + 3, t).max() < 1e-12
    s = t.float() + 1e-4 * torch.randn(200, 5)
    log_s, log_t = ((x / 1e3).log_softmax(-1) for x in (s, t.float()))
    assert (log_t.exp() * (log_t - log_s)).sum(-1).min() < 0  # rounded
    assert localization_kd(s, t.float(), 1e3).min() >= 0


def test_gradient():
    s, t = logits(3, 4).requires_grad_(), logits(3, 4)
    assert gradcheck(lambda s: localization_kd(s, t, 2.0), (s,))


def test_gradient_pulls_the_student_to_the_teacher():
    s, t = torch.zeros(1, 3, requires_grad=True), torch.tensor([[2.0, 0.0, -2.0]])
    localization_kd(s, t).sum().backward()
    assert s.grad[0, 0] < 0 < s.grad[0, 2]


def test_hot_limit_is_quadratic():
    """Half the variance of the difference, and the mean over the bins (Hinton, 2.1)."""
    s, t = logits(5, 7), logits(5, 7)
    apart = s - t
    centred = apart - apart.mean(1, keepdim=True)
    limit = centred.square().sum(1) / (2 * 7) / 7
    np.testing.assert_allclose(localization_kd(s, t, 1e4), limit, rtol=1e-3)


def test_saturated_and_degenerate():
    s = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = localization_kd(s, torch.tensor([[-1e4, 1e4, 0.0]]), 1.0)
    loss.sum().backward()
    assert loss.item() == pytest.approx(2e4 / 3)
    assert torch.isfinite(s.grad).all()
    assert localization_kd(torch.randn(4, 1), torch.randn(4, 1)).tolist() == [0] * 4
    assert localization_kd(torch.zeros(0, 5), torch.zeros(0, 5)).shape == (0,)


def test_teacher_gets_no_gradient_and_half_precision_is_raised():
    s, t = logits(50, 10).requires_grad_(), logits(50, 10).requires_grad_()
    full = localization_kd(s, t).sum()
    full.backward()
    assert t.grad is None
    half = localization_kd(s.bfloat16(), t.bfloat16()).sum()
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=2e-2)


def test_refuses_mistakes():
    s = torch.zeros(2, 3)
    with pytest.raises(ShapeError, match='must have the same shape'):
        localization_kd(s, torch.zeros(2, 4))
    with pytest.raises(ConfigError, match='tau: got 0, expected a number above 0'):
        localization_kd(s, s, 0)
