import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional import soft_focal_bce


def oracle(s, t, gamma):
    p, q = 1 / (1 + np.exp(-s)), 1 / (1 + np.exp(-t))
    return -(q * np.log(p) + (1 - q) * np.log(1 - p)) * np.abs(q - p) ** gamma


def logits(*shape):
    return 3 * torch.randn(*shape, dtype=torch.float64)


def test_worked_example():
    # Student 1/2, teacher 3/4: cross entropy ln 2, difference 1/4.
    s = torch.zeros(1, 1, dtype=torch.float64)
    t = torch.full((1, 1), np.log(3), dtype=torch.float64)
    assert soft_focal_bce(s, t, 2.0).item() == pytest.approx(np.log(2) / 16)
    assert soft_focal_bce(s, t, 1.0).item() == pytest.approx(np.log(2) / 4)
    assert soft_focal_bce(s, t, 0.0).item() == pytest.approx(np.log(2))


@pytest.mark.parametrize('gamma', [0.0, 1.0, 1.5, 2.0])
def test_matches_the_formula(gamma):
    s, t = logits(5, 3), logits(5, 3)
    expected = oracle(s.numpy(), t.numpy(), gamma)
    np.testing.assert_allclose(soft_focal_bce(s, t, gamma), expected, atol=1e-12)


def test_zero_where_both_agree():
    t = logits(4, 2)
    assert soft_focal_bce(t, t, 2.0).abs().max() == 0


@pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0])
def test_gradient_also_through_the_modulation(gamma):
    s, t = logits(4, 3).requires_grad_(), logits(4, 3)
    assert gradcheck(lambda s: soft_focal_bce(s, t, gamma), (s,))


def test_gradient_pulls_the_student_to_the_teacher():
    s, t = torch.zeros(1, 2, requires_grad=True), torch.tensor([[2.0, -2.0]])
    soft_focal_bce(s, t, 2.0).sum().backward()
    assert s.grad[0, 0] < 0 < s.grad[0, 1]


def test_saturated_logits_are_finite():
    s = torch.tensor([[1e4, -1e4, 1e4]], requires_grad=True)
    loss = soft_focal_bce(s, torch.tensor([[-1e4, -1e4, 1e4]]), 2.0)
    loss.sum().backward()
    assert loss[0].tolist() == pytest.approx([1e4, 0, 0])
    assert torch.isfinite(s.grad).all()


def test_teacher_gets_no_gradient():
    s, t = logits(2, 2).requires_grad_(), logits(2, 2).requires_grad_()
    soft_focal_bce(s, t, 2.0).sum().backward()
    assert t.grad is None


def test_half_precision():
    s, t = logits(50, 10).float(), logits(50, 10).float()
    half = soft_focal_bce(s.bfloat16(), t.bfloat16(), 2.0).sum().item()
    assert half == pytest.approx(soft_focal_bce(s, t, 2.0).sum().item(), rel=1e-2)


def test_refuses_mistakes():
    with pytest.raises(ShapeError, match='must have the same shape'):
        soft_focal_bce(torch.zeros(2, 3), torch.zeros(2, 4), 2.0)
    with pytest.raises(ConfigError, match=r'gamma: got 0\.5, expected 0 or at least 1'):
        soft_focal_bce(torch.zeros(2, 3), torch.zeros(2, 3), 0.5)
