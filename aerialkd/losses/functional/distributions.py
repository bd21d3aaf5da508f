"""Distances of discrete distributions, which some heads predict for each side."""

from __future__ import annotations

from torch import Tensor

from aerialkd.losses.functional.checks import above_zero, at_least_float, same_shape


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
    log_s, log_t = ((at_least_float(x) / tau).log_softmax(-1) for x in (s, t.detach()))
    divergence = (log_t.exp() * (log_t - log_s)).mean(-1)
    # The sum is positive up to rounding, which tau**2 would make visible.
    return tau**2 * divergence.clamp(min=0)
