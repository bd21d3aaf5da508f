"""Distances of class distributions that know the true class.

Each has a variant ``*_each`` that returns one value a sample, for dense heads, which
divide by another number than that of the samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional.checks import (
    above_zero,
    at_least_float,
    same_shape,
)
from aerialkd.losses.functional.divergence import kl_divergence

RATIO_EPS = 1e-7  # WSLD's official code adds it to the teacher's cross entropy


def weighted_soft_label(
    s: Tensor, t: Tensor, labels: Tensor, tau: float = 2.0
) -> Tensor:
    """WSLD: soft labels weighed by what is left to learn (Zhou et al. 2021).

    ``tau**2 * mean_i w_i * (-sum over classes of softmax(t / tau) * log softmax(s /
    tau))`` with ``w_i = 1 - exp(-CE(s_i, y_i) / (CE(t_i, y_i) + 1e-7))``, the cross
    entropies at temperature 1. The weight is a constant for the gradient: small where
    the student knows the class better than the teacher. It is a cross entropy, not a
    divergence: not 0 where both agree.

    Args:
        s: student logits, (n, K).
        t: teacher logits, same shape; receives no gradient.
        labels: classes in [0, K), (n,). Background has to be filtered out before.
        tau: temperature, above 0.

    Returns:
        Scalar, at least 0; 0 of no samples.

    Raises:
        ShapeError: if the shapes do not fit, or a label is no class.
        ConfigError: if tau is not above 0.

    Example:
        >>> s, y = torch.zeros(1, 2), torch.tensor([0])
        >>> round(weighted_soft_label(s, s, y, 1.0).item(), 4)  # (1 - 1 / e) * ln 2
        0.4382
    """
    check_labels('weighted_soft_label', s, labels)
    return _mean(weighted_soft_label_each(s, t, labels, tau))


def weighted_soft_label_each(
    s: Tensor, t: Tensor, labels: Tensor, tau: float = 2.0
) -> Tensor:
    """:func:`weighted_soft_label` of each sample, (n,); labels are not checked."""
    same_shape('weighted_soft_label', s, t)
    above_zero('tau', tau)
    s, t = at_least_float(s), at_least_float(t.detach())
    soft = _cross_entropy(t, s, tau)
    with torch.no_grad():
        error_s, error_t = (_label_error(x, labels) for x in (s, t))
        weight = -torch.expm1(-(error_s / (error_t + RATIO_EPS)).clamp(min=0))
    return tau**2 * weight * soft


def decoupled_kd(
    s: Tensor,
    t: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    tau: float = 4.0,
) -> Tensor:
    """DKD: the true class and the other classes apart (Zhao et al. 2022, eq. 7).

    ``tau**2 * mean_i (alpha * KL(b_t || b_s) + beta * KL(q_t || q_s))`` with b = (p_y,
    1 - p_y), p = softmax(logits / tau), and q the softmax over the other classes only.

    Args:
        s: student logits, (n, K).
        t: teacher logits, same shape; receives no gradient.
        labels: classes in [0, K), (n,). Background has to be filtered out before.
        alpha: weight of the true class.
        beta: weight of the others.
        tau: temperature, above 0.

    Returns:
        Scalar, at least 0; 0 where both agree, and of no samples.

    Raises:
        ShapeError: if the shapes do not fit, or a label is no class.
        ConfigError: if tau is not above 0, or there is one class only.

    Example:
        >>> s, t = torch.zeros(1, 2), torch.tensor([[0.0, 3.0]]).log1p()
        >>> loss = decoupled_kd(s, t, torch.tensor([0]), tau=1.0)
        >>> round(loss.item(), 4)  # (1/5, 4/5) against (1/2, 1/2)
        0.1927
    """
    check_labels('decoupled_kd', s, labels)
    return _mean(decoupled_kd_each(s, t, labels, alpha, beta, tau))


def decoupled_kd_each(
    s: Tensor,
    t: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    tau: float = 4.0,
) -> Tensor:
    """:func:`decoupled_kd` of each sample, (n,); labels are not checked."""
    same_shape('decoupled_kd', s, t)
    above_zero('tau', tau)
    s, t = at_least_float(s), at_least_float(t.detach())
    others_s, others_t = without_label(s, labels), without_label(t, labels)
    rest = kl_divergence(others_t, others_s, tau)
    with torch.no_grad():
        # logsumexp(others_s / tau) - logsumexp(others_t / tau), without subtraction.
        apart = (others_s - others_t) / tau
        rest_apart = ((others_t / tau).softmax(-1) * apart).sum(-1) + rest
        label_apart = (s - t).gather(1, labels[:, None])[:, 0] / tau
    target_s, target_t = (_one_against_rest(x / tau, labels) for x in (s, t))
    apart = torch.stack([label_apart, rest_apart], 1)
    target = kl_divergence(target_t, target_s, difference=apart)
    return tau**2 * (alpha * target + beta * rest)


def normalized_kd(
    s: Tensor, t: Tensor, labels: Tensor, gamma: float = 1.5, tau: float = 1.0
) -> Tensor:
    """NKD: cross entropies of the true class and of the others (Yang et al. 2023).

    ``mean_i (-p_t(y) log p_s(y)) + gamma * tau**2 * mean_i (-sum over other classes of
    q_t log q_s)`` with p the softmax at temperature 1 and q that over the
    other classes only, at tau. Cross entropies: not 0 where both agree.

    Args:
        s: student logits, (n, K).
        t: teacher logits, same shape; receives no gradient.
        labels: classes in [0, K), (n,). Background has to be filtered out before.
        gamma: weight of the other classes.
        tau: their temperature, above 0.

    Returns:
        Scalar, at least 0; 0 of no samples.

    Raises:
        ShapeError: if the shapes do not fit, or a label is no class.
        ConfigError: if tau is not above 0, or there is one class only.

    Example:
        >>> s, y = torch.zeros(1, 3), torch.tensor([0])
        >>> round(normalized_kd(s, s, y, 1.0).item(), 4)  # ln 3 / 3 + ln 2
        1.0594
    """
    check_labels('normalized_kd', s, labels)
    return _mean(normalized_kd_each(s, t, labels, gamma, tau))


def normalized_kd_each(
    s: Tensor, t: Tensor, labels: Tensor, gamma: float = 1.5, tau: float = 1.0
) -> Tensor:
    """:func:`normalized_kd` of each sample, (n,); labels are not checked."""
    same_shape('normalized_kd', s, t)
    above_zero('tau', tau)
    s, t = at_least_float(s), at_least_float(t.detach())
    rest = _cross_entropy(without_label(t, labels), without_label(s, labels), tau)
    confidence = t.softmax(-1).gather(1, labels[:, None])[:, 0]
    return confidence * _label_error(s, labels) + gamma * tau**2 * rest


def without_label(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits of the classes that are not the label, (n, K) -> (n, K - 1).

    Raises:
        ConfigError: if there is one class only.

    Example:
        >>> without_label(torch.tensor([[1., 2., 3.]]), torch.tensor([1])).tolist()
        [[1.0, 3.0]]
    """
    num, classes = logits.shape
    if classes < 2:
        raise ConfigError(
            'got one class, expected at least two: this method compares the classes '
            'beside the true one.'
        )
    others = torch.arange(classes - 1, device=logits.device).expand(num, -1)
    return logits.gather(1, others + (others >= labels[:, None]))


def check_labels(name: str, logits: Tensor, labels: Tensor) -> None:
    """Refuse labels that are no classes of the logits.

    Raises:
        ShapeError: for another shape, or a label outside [0, K).
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f'{name}: got logits {tuple(logits.shape)} and labels '
            f'{tuple(labels.shape)}, expected (n, K) and (n,).'
        )
    classes = logits.shape[1]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ShapeError(
            f'{name}: got label {int(wrong[0])} for logits of {classes} classes, '
            f'expected 0 to {classes - 1}. Background samples have to be left out.'
        )


def _one_against_rest(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits of (p_y, 1 - p_y), (n, 2); exact where either is tiny."""
    true = logits.gather(1, labels[:, None])
    rest = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([true, rest], 1)


def _label_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the label, (n,); exact also where it is almost certain."""
    true, rest = _one_against_rest(logits, labels).unbind(1)
    return -F.logsigmoid(true - rest)


def _cross_entropy(t: Tensor, s: Tensor, tau: float) -> Tensor:
    """-sum softmax(t / tau) * log softmax(s / tau), (n, C) x2 -> (n,).

    As the teacher's entropy and a divergence, because the gradient q - p would cancel.
    """
    with torch.no_grad():
        hot = t / tau
        most, best = hot.max(-1)
        below = most[:, None] - hot
        entropy = _label_error(hot, best) + (hot.softmax(-1) * below).sum(-1)
    return entropy + kl_divergence(t, s, tau)


def _mean(values: Tensor) -> Tensor:
    """Mean over the samples; 0 of none, attached to the graph."""
    return values.sum() / max(len(values), 1)
