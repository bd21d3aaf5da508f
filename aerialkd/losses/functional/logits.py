"""Distances of class logits."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from aerialkd.errors import ConfigError
from aerialkd.losses.functional.checks import (
    above_zero,
    at_least_float,
    same_shape,
)
from aerialkd.losses.functional.divergence import kl_divergence
from aerialkd.losses.functional.gradients import with_gradient

DIRECTIONS = ('student_teacher', 'teacher_student')


def soft_class_kl(
    s: Tensor, t: Tensor, tau: float = 8.0, direction: str = 'student_teacher'
) -> Tensor:
    """Divergence of softened class distributions (KD-RNet eq. 2).

    ``tau**2 * sum over classes of p * log(p / q)`` with softmax(logits / tau) as
    distributions. As eq. 2 is printed, p is the student's and q the teacher's: the
    student is punished for classes that the teacher rules out (``'student_teacher'``).
    Distillation as Hinton et al. (2015) have it is the reverse
    (``'teacher_student'``). The factor tau**2, theirs too and not printed in the paper,
    keeps the gradient's size when tau changes.

    Args:
        s: student logits, (n, K).
        t: teacher logits, same shape; receives no gradient.
        tau: temperature, above 0; 8 in the paper (III-A).
        direction: which of both distributions weighs the classes.

    Returns:
        (n,), at least 0; 0 where both distributions are equal.

    Raises:
        ShapeError: if the shapes differ.
        ConfigError: if tau is not above 0, or for an unknown direction.

    Example:
        >>> soft_class_kl(torch.zeros(1, 3), torch.zeros(1, 3), 8.0).tolist()
        [0.0]
    """
    same_shape('soft_class_kl', s, t)
    above_zero('tau', tau)
    if direction not in DIRECTIONS:
        raise ConfigError(
            f'direction: got {direction!r}, expected one of {", ".join(DIRECTIONS)}.'
        )
    s, t = at_least_float(s), at_least_float(t.detach())
    first, second = (s, t) if direction == 'student_teacher' else (t, s)
    return tau**2 * kl_divergence(first, second, tau)


def soft_focal_bce(s: Tensor, t: Tensor, gamma: float) -> Tensor:
    """Focal loss with the teacher's probabilities as soft targets (RDR-KD eq. 9).

    ``BCE(s, sigmoid(t)) * |sigmoid(t) - sigmoid(s)|**gamma`` for each class of each
    prior on its own. gamma = 2 is the focal loss that the paper cites, gamma = 1 is
    BCKD (Yang et al., ICCV 2023). The modulating factor takes part in the gradient.

    Args:
        s: student logits, (n, K), or of any other shape.
        t: teacher logits, same shape; receives no gradient.
        gamma: 0, or at least 1 (below, the slope at equality is infinite).

    Returns:
        As ``s``, at least 0; 0 where both agree, for gamma above 0.

    Raises:
        ShapeError: if the shapes differ.
        ConfigError: if gamma is negative or between 0 and 1.

    Example:
        >>> soft_focal_bce(torch.zeros(1, 1), torch.zeros(1, 1), 2.0).tolist()
        [[0.0]]
    """
    same_shape('soft_focal_bce', s, t)
    if gamma < 0 or 0 < gamma < 1:
        raise ConfigError(f'gamma: got {gamma}, expected 0 or at least 1.')
    s, t = at_least_float(s), at_least_float(t.detach())
    with torch.no_grad():
        value, slope = _focal(s, t, gamma)
    as_written = partial(_focal_as_written, t=t, gamma=gamma)
    return with_gradient(value, [slope if s.requires_grad else None], [s], as_written)


def _focal(s: Tensor, t: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The loss and its derivative; nothing is subtracted that is nearly equal."""
    apart, size = probability_difference(s, t), s.abs()
    tail = size.neg().exp_()
    # |s| * sigmoid(-t * sign(s)) + log(1 + exp(-|s|))
    cross_entropy = s.sign().mul_(t).neg_().sigmoid_().mul_(size).add_(tail.log1p())
    if gamma == 0:
        return cross_entropy, apart
    power = apart.abs().pow_(gamma - 1).mul_(apart.sign())
    # The slope of sigmoid(s) is tail / (1 + tail)**2, that of the cross entropy apart.
    slope = tail.div_((1 + tail).square_()).mul_(cross_entropy).mul_(gamma)
    slope.addcmul_(apart, apart).mul_(power)
    return cross_entropy.mul_(power).mul_(apart), slope


def _focal_as_written(s: Tensor, t: Tensor, gamma: float) -> Tensor:
    target = t.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(s, target, reduction='none')
    return cross_entropy * (s.sigmoid() - target).abs() ** gamma


def probability_difference(s: Tensor, t: Tensor) -> Tensor:
    """sigmoid(s) - sigmoid(t), exact also where both are nearly equal, or both 1.

    With h the higher and l the lower logit it is, but for the sign, ``sigmoid(h) *
    sigmoid(-l) * (1 - exp(l - h))``.

    Args:
        s: logits, at least single precision.
        t: logits, same shape.

    Returns:
        As ``s``, in [-1, 1].

    Example:
        >>> probability_difference(torch.tensor(1e-7), torch.tensor(0.0)) * 4
        tensor(1.0000e-07)
    """
    high, low = torch.maximum(s, t), torch.minimum(s, t)
    size = (low - high).expm1_().mul_(high.sigmoid_()).mul_(low.neg_().sigmoid_())
    return size.mul_((t - s).sign_())
