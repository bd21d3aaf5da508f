import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional import soft_class_kl, soft_focal_bce


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


BOTH = pytest.mark.parametrize('direction', ['student_teacher', 'teacher_student'])


class TestSoftClassKL:
    @staticmethod
    def oracle(s, t, tau, direction):
        p, q = (np.exp(x / tau) / np.exp(x / tau).sum(1, keepdims=True) for x in (s, t))
        if direction == 'teacher_student':
            p, q = q, p
        # Eq. 2 as printed: minus sum p log q, plus sum p log p.
        return tau**2 * (-(p * np.log(q)).sum(1) + (p * np.log(p)).sum(1))

    def test_worked_example(self):
        # Softened by 2: student (1/2, 1/2), teacher (1/4, 3/4).
        s = torch.zeros(1, 2, dtype=torch.float64)
        t = torch.tensor([[0.0, 2 * np.log(3)]], dtype=torch.float64)
        student_first = 4 * (np.log(2) / 2 + np.log(2 / 3) / 2)
        teacher_first = 4 * (np.log(1 / 2) / 4 + 3 * np.log(3 / 2) / 4)
        assert soft_class_kl(s, t, 2.0).item() == pytest.approx(student_first)
        usual = soft_class_kl(s, t, 2.0, 'teacher_student').item()
        assert usual == pytest.approx(teacher_first)
        assert student_first != pytest.approx(teacher_first, rel=1e-2)

    @BOTH
    @pytest.mark.parametrize('tau', [0.5, 1.0, 8.0])
    def test_matches_the_formula(self, tau, direction):
        s, t = logits(6, 15), logits(6, 15)
        expected = self.oracle(s.numpy(), t.numpy(), tau, direction)
        found = soft_class_kl(s, t, tau, direction)
        assert found.shape == (6,)
        np.testing.assert_allclose(found, expected, atol=1e-10)

    @BOTH
    def test_zero_where_the_distributions_are_equal(self, direction):
        t = logits(4, 5)
        assert soft_class_kl(t + 3, t, 8.0, direction).max() < 1e-12

    @BOTH
    def test_gradient(self, direction):
        s, t = logits(3, 4).requires_grad_(), logits(3, 4)
        assert gradcheck(lambda s: soft_class_kl(s, t, 2.0, direction), (s,))

    @BOTH
    def test_gradient_pulls_the_student_to_the_teacher(self, direction):
        s, t = torch.zeros(1, 3, requires_grad=True), torch.tensor([[2.0, 0.0, -2.0]])
        soft_class_kl(s, t, 8.0, direction).sum().backward()
        assert s.grad[0, 0] < 0 < s.grad[0, 2]

    @BOTH
    def test_hot_limit_is_half_the_squared_difference(self, direction):
        """tau**2 * KL tends to the variance of the difference, halved (Hinton, 2.1)."""
        s, t = logits(5, 7), logits(5, 7)
        limit = (s - t).var(1, unbiased=False) / 2
        found = soft_class_kl(s, t, 1e4, direction)
        np.testing.assert_allclose(found, limit, rtol=1e-3)

    @BOTH
    def test_saturated_and_single_class(self, direction):
        s = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
        loss = soft_class_kl(s, torch.tensor([[-1e4, 1e4, 0.0]]), 8.0, direction)
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert torch.isfinite(s.grad).all()
        one = soft_class_kl(torch.randn(4, 1), torch.randn(4, 1), 8.0, direction)
        assert one.tolist() == [0, 0, 0, 0]
        assert soft_class_kl(torch.zeros(0, 5), torch.zeros(0, 5)).shape == (0,)

    def test_teacher_gets_no_gradient_and_half_precision_is_raised(self):
        s, t = logits(50, 10).requires_grad_(), logits(50, 10).requires_grad_()
        full = soft_class_kl(s, t, 8.0).sum()
        full.backward()
        assert t.grad is None
        half = soft_class_kl(s.bfloat16(), t.bfloat16(), 8.0).sum()
        assert half.dtype == torch.float32
        assert half.item() == pytest.approx(full.item(), rel=2e-2)

    def test_refuses_mistakes(self):
        s = torch.zeros(2, 3)
        with pytest.raises(ShapeError, match='must have the same shape'):
            soft_class_kl(s, torch.zeros(2, 4), 8.0)
        with pytest.raises(ConfigError, match='tau: got 0, expected a number above 0'):
            soft_class_kl(s, s, 0)
        with pytest.raises(ConfigError, match="direction: got 'both', expected one of"):
            soft_class_kl(s, s, 8.0, 'both')
