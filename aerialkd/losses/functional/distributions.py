"""Distances of discrete distributions, which some heads predict for each side."""

from __future__ import annotations

from torch import Tensor

from aerialkd.losses.functional.checks import above_zero, at_least_float, same_shape
from aerialkd.losses.functional.divergence import kl_divergence


def localization_kd(s: Tensor, t: Tensor, tau: float = 10.0) -> Tensor:
    """Localisation distillation of one side's distribution (Zheng et al., CVPR 2022).

    ``tau**2 * mean over bins of p_t * log(p_t / p_s)`` with softmax(logits / tau) as
    distributions. The mean, where a divergence is a sum, is the official code's: the
    published weights presume it.

    Args:
        s: student logits, (n, bins).
        t: teacher logits, same shape; receives no gradient.
        tau: temperature, above 0; 10 in the paper.

    Returns:
        (n,), at least 0; 0 where both distributions are equal. Single precision for
        half.

    Raises:
        ShapeError: if the shapes differ.
        ConfigError: if tau is not above 0.

    Example:
        >>> localization_kd(torch.zeros(1, 16), torch.zeros(1, 16)).tolist()
        [0.0]
    """
    same_shape('localization_kd', s, t)
    above_zero('tau', tau)
    s, t = at_least_float(s), at_least_float(t.detach())
    return tau**2 / s.shape[-1] * kl_divergence(t, s, tau)
