"""WSLD, DKD and NKD: worked by hand, against NumPy, and at their limits."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional import (
    decoupled_kd,
    normalized_kd,
    soft_class_kl,
    weighted_soft_label,
)

pytestmark = pytest.mark.rounding

ALL = pytest.mark.parametrize(
    'loss', [weighted_soft_label, decoupled_kd, normalized_kd], ids=lambda f: f.__name__
)


def probabilities(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def samples(n=6, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    s, t = 2 * torch.randn(2, n, classes, dtype=torch.float64, generator=generator)
    return s, t, torch.randint(classes, (n,), generator=generator)


def wsld_oracle(s, t, y, tau):
    p, q = probabilities(s / tau), probabilities(t / tau)
    ratio = -np.log(probabilities(s)[y]) / (-np.log(probabilities(t)[y]) + 1e-7)
    return tau**2 * (1 - np.exp(-max(ratio, 0))) * -(q * np.log(p)).sum()


def dkd_oracle(s, t, y, alpha, beta, tau):
    p, q = probabilities(s / tau), probabilities(t / tau)
    binary = q[y] * np.log(q[y] / p[y]) + (1 - q[y]) * np.log((1 - q[y]) / (1 - p[y]))
    others = [c for c in range(len(s)) if c != y]
    p, q = p[others] / p[others].sum(), q[others] / q[others].sum()
    return tau**2 * (alpha * binary + beta * (q * np.log(q / p)).sum())


def nkd_oracle(s, t, y, gamma, tau):
    target = -probabilities(t)[y] * np.log(probabilities(s)[y])
    others = [c for c in range(len(s)) if c != y]
    p, q = probabilities(s[others] / tau), probabilities(t[others] / tau)
    return target + gamma * tau**2 * -(q * np.log(p)).sum()


@pytest.mark.parametrize(
    ('loss', 'oracle', 'options'),
    [
        (weighted_soft_label, wsld_oracle, dict(tau=2.0)),
        (weighted_soft_label, wsld_oracle, dict(tau=0.7)),
        (decoupled_kd, dkd_oracle, dict(alpha=1.0, beta=8.0, tau=4.0)),
        (decoupled_kd, dkd_oracle, dict(alpha=0.3, beta=0.25, tau=1.0)),
        (normalized_kd, nkd_oracle, dict(gamma=1.5, tau=1.0)),
        (normalized_kd, nkd_oracle, dict(gamma=0.4, tau=3.0)),
    ],
)
def test_matches_the_formula(loss, oracle, options):
    s, t, y = samples()
    rows = zip(s.numpy(), t.numpy(), y.tolist(), strict=True)
    expected = np.mean([oracle(*row, **options) for row in rows])
    assert loss(s, t, y, **options).item() == pytest.approx(expected, rel=1e-10)
    assert loss(s, t, y, *options.values()).item() == pytest.approx(expected, rel=1e-10)


def test_defaults_are_the_papers():
    s, t, y = samples()
    assert weighted_soft_label(s, t, y) == weighted_soft_label(s, t, y, 2.0)
    assert decoupled_kd(s, t, y) == decoupled_kd(s, t, y, 1.0, 8.0, 4.0)
    assert normalized_kd(s, t, y) == normalized_kd(s, t, y, 1.5, 1.0)


def test_worked_examples():
    """Student (1/4, 1/4, 1/2), teacher (1/2, 1/4, 1/4), the first class is true."""
    s = torch.tensor([[1.0, 1.0, 2.0]], dtype=torch.float64).log()
    t = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log()
    y = torch.tensor([0])
    ln2, ln3 = np.log(2), np.log(3)
    # Cross entropies ln 4 and ln 2: weight 1 - exp(-2); soft 3/4 ln 4 + 1/4 ln 2.
    wsld = (1 - np.exp(-2)) * (2 * 0.75 + 0.25) * ln2
    assert weighted_soft_label(s, t, y, 1.0).item() == pytest.approx(wsld, rel=1e-6)
    # (1/2, 1/2) to (1/4, 3/4), and (1/2, 1/2) to (1/3, 2/3).
    binary = ln2 / 2 + np.log(2 / 3) / 2
    others = (ln3 - ln2) / 2 + np.log(3 / 4) / 2
    found = decoupled_kd(s, t, y, 1.0, 8.0, 1.0).item()
    assert found == pytest.approx(binary + 8 * others)
    others = ln3 / 2 + np.log(3 / 2) / 2
    found = normalized_kd(s, t, y, 1.5, 1.0).item()
    assert found == pytest.approx(ln2 + 1.5 * others)  # 1/2 * ln 4


def test_decoupled_parts_add_up_to_the_divergence():
    """KL = binary + (1 - p_t(y)) * KL of the others (Zhao et al., eq. 6)."""
    s, t, _ = samples()
    y = torch.zeros(len(s), dtype=torch.long)
    for row in range(len(s)):
        one = slice(row, row + 1)
        beta = 1 - t[row].softmax(0)[0].item()
        whole = soft_class_kl(s[one], t[one], 1.0, 'teacher_student').item()
        parts = decoupled_kd(s[one], t[one], y[one], 1.0, beta, 1.0).item()
        assert parts == pytest.approx(whole, abs=1e-10)


def test_decoupled_is_zero_where_both_agree():
    s, t, y = samples()
    assert decoupled_kd(t + 3, t, y).item() == pytest.approx(0, abs=1e-10)
    assert decoupled_kd(s, t, y).item() > 0.1


@ALL
def test_gradient_pulls_the_student_to_a_teacher_that_knows_the_class(loss):
    t = torch.tensor([[3.0, 1.0, 0.0]])
    s = torch.tensor([[0.0, 1.0, 3.0]], requires_grad=True)
    loss(s, t, torch.tensor([0])).backward()
    assert s.grad[0, 0] < 0 < s.grad[0, 2]


@ALL
def test_gradient(loss):
    s, t, y = samples(3, 4)
    if loss is weighted_soft_label:
        # Its weight is a constant: the gradient is that of the rest of the formula.
        s.requires_grad_()
        loss(s, t, y).backward()
        with torch.no_grad():
            p, q = (s / 2).softmax(1), (t / 2).softmax(1)
            ratio = -s.log_softmax(1) / (1e-7 - t.log_softmax(1))
            weight = 1 - (-ratio.gather(1, y[:, None])).exp()
        expected = 4 * weight * (p - q) / 2 / len(s)
        np.testing.assert_allclose(s.grad, expected, atol=1e-9)
    else:
        assert gradcheck(lambda s: loss(s, t, y), (s.requires_grad_(),))


def test_the_weight_grows_with_what_is_left_to_learn():
    t, y = torch.tensor([[2.0, 0.0]]), torch.tensor([0])

    def weight(s):
        soft = -((t / 2).softmax(1) * (s / 2).log_softmax(1)).sum()
        return (weighted_soft_label(s, t, y) / 4 / soft).item()

    knows_better, knows_less = torch.tensor([[6.0, 0.0]]), torch.tensor([[-6.0, 0.0]])
    assert weight(knows_better) < 0.05 < weight(t) < weight(knows_less)
    assert weight(t) == pytest.approx(1 - np.exp(-1), rel=1e-4)
    assert weight(knows_less) == pytest.approx(1, abs=1e-6)


@ALL
def test_saturated_logits_are_finite(loss):
    s = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    t = torch.tensor([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]])
    for labels in ([0, 0], [1, 1], [2, 2]):
        s.grad = None
        value = loss(s, t, torch.tensor(labels))
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(s.grad).all()


@ALL
def test_no_samples_are_zero_and_attached(loss):
    s = torch.zeros(0, 4, requires_grad=True)
    value = loss(s, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    value.backward()
    assert value.item() == 0
    assert s.grad.shape == (0, 4)


@ALL
def test_two_classes(loss):
    """There is one other class, whose share of the others is 1."""
    s, t, y = samples(4, 2)
    value = loss(s, t, y)
    assert torch.isfinite(value)
    if loss is decoupled_kd:
        assert value.item() == pytest.approx(decoupled_kd(s, t, y, beta=0.0).item())


def test_one_class():
    s, t, y = samples(4, 1)
    assert weighted_soft_label(s, t, y).item() == 0
    for loss in (decoupled_kd, normalized_kd):
        with pytest.raises(ConfigError, match='one class, expected at least two'):
            loss(s, t, y)


@ALL
def test_labels_that_are_no_class_are_refused(loss):
    s, t, y = samples(4, 3)
    y[2] = 3  # mmdet's background
    with pytest.raises(ShapeError, match=r'label 3 .* 0 to 2\. Background'):
        loss(s, t, y)
    y[2] = -1
    with pytest.raises(ShapeError, match='label -1'):
        loss(s, t, y)
    with pytest.raises(ShapeError, match=r'expected \(n, K\) and \(n,\)'):
        loss(s, t, y[:2])
    with pytest.raises(ShapeError, match='must have the same shape'):
        loss(s, t[:, :2], y.clamp(0, 1))
    with pytest.raises(ConfigError, match='tau: got 0'):
        loss(s, t, y.clamp(0, 1), tau=0)


@ALL
def test_average_over_the_samples(loss):
    s, t, y = samples()
    halves = [loss(s[i : i + 3], t[i : i + 3], y[i : i + 3]).item() for i in (0, 3)]
    assert loss(s, t, y).item() == pytest.approx(np.mean(halves))


@ALL
def test_teacher_gets_no_gradient_and_half_precision_is_raised(loss):
    s, t, y = samples(50, 10)
    s, t = s.float().requires_grad_(), t.float().requires_grad_()
    full = loss(s, t, y)
    full.backward()
    assert t.grad is None
    half = loss(s.bfloat16(), t.bfloat16(), y)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=2e-2)


def test_hot_limit_of_the_others():
    """tau**2 * KL tends to half the variance of the difference of the logits."""
    s, t, y = samples(1, 5)
    others = [c for c in range(5) if c != y.item()]
    limit = (s - t)[:, others].var(1, unbiased=False).item() / 2
    found = decoupled_kd(s, t, y, 0.0, 1.0, 1e4).item()
    assert found == pytest.approx(limit, rel=1e-3)
