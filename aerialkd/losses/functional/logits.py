"""Distances of class logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from aerialkd.errors import ConfigError
from aerialkd.losses.functional.checks import (
    above_zero,
    at_least_float,
    same_shape,
)

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
    log_s, log_t = ((at_least_float(x) / tau).log_softmax(-1) for x in (s, t.detach()))
    first, second = (log_s, log_t) if direction == 'student_teacher' else (log_t, log_s)
    divergence = (first.exp() * (first - second)).sum(-1)
    # The sum is positive up to rounding, which tau**2 would make visible.
    return tau**2 * divergence.clamp(min=0)


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
    s, target = at_least_float(s), at_least_float(t.detach()).sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(s, target, reduction='none')
    apart = target - s.sigmoid()
    return cross_entropy * (apart.square() if gamma == 2 else apart.abs() ** gamma)
