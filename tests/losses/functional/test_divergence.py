"""Divergences and their gradients where the usual formulas cancel."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from aerialkd.losses.functional import (
    channel_wise_divergence,
    decoupled_kd,
    divergence,
    localization_kd,
    normalized_kd,
    soft_class_kl,
    soft_focal_bce,
    weighted_soft_label,
)
from aerialkd.losses.functional.divergence import kl_divergence
from aerialkd.losses.functional.logits import probability_difference

pytestmark = pytest.mark.rounding

# How far logits are apart, and how large they are.
NEAR = [(1e-1, 1.0), (1e-3, 1.0), (1e-5, 1.0), (1e-3, 30.0), (1e-1, 200.0)]
APART = [(3.0, 1.0), (30.0, 30.0), (200.0, 200.0)]


def logits(apart, scale, rows=12, classes=7, seed=0):
    """Single precision: what is rounded here is rounded before anything is compared."""
    generator = torch.Generator().manual_seed(seed)
    t, noise = torch.randn(2, rows, classes, generator=generator)
    return scale * t + apart * noise, scale * t


def exactly(first, second, tau):
    """KL and both gradients of one row, with 60 digits."""
    with localcontext() as context:
        context.prec = 60
        temperature = Decimal(tau)
        p, q = (
            [(Decimal(x) / temperature).exp() for x in row.tolist()]
            for row in (first, second)
        )
        p, q = ([x / sum(row) for x in row] for row in (p, q))
        logs = [(a / b).ln() for a, b in zip(p, q, strict=True)]
        kl = sum(a * log for a, log in zip(p, logs, strict=True))
        of_first = [
            a * (log - kl) / temperature for a, log in zip(p, logs, strict=True)
        ]
        of_second = [(b - a) / temperature for a, b in zip(p, q, strict=True)]
        return float(kl), list(map(float, of_first)), list(map(float, of_second))


def relative(found, expected):
    """Largest distance of two rows, over the size of the expected one.

    What is below 1e-30 is as good as 0: single precision ends there.
    """
    found = torch.as_tensor(found).double().flatten(1)
    expected = torch.as_tensor(expected).double().flatten(1)
    distance = (found - expected).norm(dim=1)
    return (distance / (expected.norm(dim=1) + 1e-30)).max().item()


@pytest.mark.parametrize('tau', [1.0, 8.0])
@pytest.mark.parametrize(('apart', 'scale'), NEAR + APART)
def test_single_precision_is_exact(apart, scale, tau):
    second, first = (x.requires_grad_() for x in logits(apart, scale))
    found = kl_divergence(first, second, tau)
    found.sum().backward()
    rows = [exactly(*pair, tau) for pair in zip(first, second, strict=True)]
    kl, of_first, of_second = (np.array(column) for column in zip(*rows, strict=True))
    # Logits of 200 that are 200 apart are rounded by 1e-5 themselves, and so is exp.
    bound = 1e-5 if apart < 10 else 1e-4
    assert relative(found.detach()[:, None], kl[:, None]) < bound
    assert relative(first.grad, of_first) < bound
    assert relative(second.grad, of_second) < bound
    assert (found >= 0).all()


@pytest.mark.parametrize('tau', [0.5, 10.0])
@pytest.mark.parametrize('scale', [1.0, 1e4])
def test_exactly_zero_where_both_are_the_same(scale, tau):
    first = (scale * torch.randn(50, 9)).requires_grad_()
    second = first.detach().clone().requires_grad_()
    found = kl_divergence(first, second, tau)
    found.sum().backward()
    assert found.abs().max() == 0
    assert first.grad.abs().max() == second.grad.abs().max() == 0


def test_a_common_offset_changes_nothing():
    # Multiples of 1/64 below 1024: sums with the offset are not rounded.
    t, s = (torch.randint(-64, 64, (2, 20, 8)) / 64).unbind()
    expected = kl_divergence(t.double(), s.double())
    found = kl_divergence(t, s + 500)
    assert relative(found[:, None], expected[:, None]) < 1e-5
    assert kl_divergence(t, t + 500).abs().max() < 1e-12


@pytest.mark.parametrize('size', [1e2, 1e4, 1e30])
def test_saturated_logits(size):
    """Each row's whole mass elsewhere: KL is the difference of the logits."""
    first = torch.tensor([[size, -size, 0.0]], requires_grad=True)
    second = torch.tensor([[-size, size, 0.0]], requires_grad=True)
    found = kl_divergence(first, second)
    found.sum().backward()
    assert found.item() == pytest.approx(2 * size)
    assert second.grad[0].tolist() == pytest.approx([-1, 1, 0])
    assert first.grad.abs().max() < 1e-6 * size


def test_not_a_number_stays_one():
    s = torch.tensor([[0.0, torch.nan], [torch.inf, 0.0], [0.0, 1.0]])
    assert kl_divergence(torch.zeros(3, 2), s).isnan().tolist() == [True, True, False]


@pytest.mark.parametrize('apart', [1e-4, 2.0, 100.0])
def test_gradients_of_first_and_second_order(apart):
    s, t = (x.double().requires_grad_() for x in logits(apart, 2.0, rows=3, classes=4))
    for inputs in ((s, t), (s, t.detach()), (s.detach(), t)):
        assert gradcheck(lambda a, b: kl_divergence(a, b, 2.0), inputs)
        assert gradgradcheck(lambda a, b: kl_divergence(a, b, 2.0), inputs)


def test_a_difference_that_is_known_is_taken():
    s, t = (x.requires_grad_() for x in logits(1e-5, 1.0))
    exact = s.detach().double() - t.detach().double()
    rounded = (s.detach() + 8) - 8  # as a logsumexp is
    found = kl_divergence(t, rounded, 1.0, exact.float())
    expected = kl_divergence(t.double(), s.double())
    assert relative(found[:, None], expected[:, None]) < 1e-5
    assert relative(kl_divergence(t, rounded)[:, None], expected[:, None]) > 1e-3


def test_blocks_of_rows_are_independent(monkeypatch):
    s, t = (x.view(2, 3, 2, 7).requires_grad_() for x in logits(1.0, 1.0))
    whole = kl_divergence(t, s)
    expected = torch.autograd.grad(whole.sum(), (s, t))
    monkeypatch.setattr(divergence, 'BLOCK', 30)  # four rows
    found = kl_divergence(t, s)
    assert found.shape == (2, 3, 2)
    torch.testing.assert_close(found, whole, rtol=1e-6, atol=0)
    for one, other in zip(
        torch.autograd.grad(found.sum(), (s, t)), expected, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_degenerate_shapes():
    assert kl_divergence(torch.randn(4, 1), torch.randn(4, 1)).tolist() == [0] * 4
    s = torch.zeros(0, 5, requires_grad=True)
    found = kl_divergence(torch.zeros(0, 5), s)
    found.sum().backward()
    assert found.shape == (0,)
    assert s.grad.shape == (0, 5)


@pytest.mark.parametrize(('apart', 'scale'), NEAR + APART)
def test_difference_of_probabilities(apart, scale):
    s, t = logits(apart, scale)
    with localcontext() as context:
        context.prec = 120
        p, q = (
            [1 / (1 + (-Decimal(x)).exp()) for x in row.flatten().tolist()]
            for row in (s, t)
        )
        expected = [float(a - b) for a, b in zip(p, q, strict=True)]
    found = probability_difference(s, t).flatten()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)


def labels(s):
    return torch.arange(len(s)) % s.shape[1]


LOSSES = {
    'student first': lambda s, t: soft_class_kl(s, t, 8.0, 'student_teacher'),
    'teacher first': lambda s, t: soft_class_kl(s, t, 8.0, 'teacher_student'),
    'CWD': lambda s, t: channel_wise_divergence(s[None, ..., None], t[None, ..., None]),
    'LD': localization_kd,
    'DKD': lambda s, t: decoupled_kd(s, t, labels(s)),
    'DKD, label': lambda s, t: decoupled_kd(s, t, labels(s), 1.0, 0.0, 1.0),
    'BCKD': lambda s, t: soft_focal_bce(s, t, 1.0),
    'RDR-KD': lambda s, t: soft_focal_bce(s, t, 2.0),
    # Cross entropies, which are not 0 where both are the same.
    'WSLD': lambda s, t: weighted_soft_label(s, t, labels(s)),
    'BCE': lambda s, t: soft_focal_bce(s, t, 0.0),
    'NKD': lambda s, t: normalized_kd(s, t, labels(s)),
}


def value_and_gradient(loss, s, t):
    s = s.clone().requires_grad_()
    value = loss(s, t)
    value.sum().backward()
    return value.detach(), s.grad


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize(('apart', 'scale'), NEAR + APART)
def test_losses_in_single_precision(loss, apart, scale):
    s, t = logits(apart, scale)
    value, gradient = value_and_gradient(LOSSES[loss], s, t)
    exact, slope = value_and_gradient(LOSSES[loss], s.double(), t.double())
    assert value.dtype == torch.float32
    assert relative(value.view(-1, 1), exact.view(-1, 1)) < 1e-4
    assert relative(gradient, slope) < 1e-4
    assert (value >= 0).all()


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('scale', [1.0, 200.0])
def test_losses_of_the_same_logits(loss, scale):
    t = scale * torch.randn(9, 7)
    value, gradient = value_and_gradient(LOSSES[loss], t, t)
    assert (value >= 0).all()
    if loss not in ('WSLD', 'BCE', 'NKD'):
        assert value.abs().max() == 0
    if loss != 'NKD':  # the true class is weighed by the teacher's confidence
        assert gradient.abs().max() == 0
