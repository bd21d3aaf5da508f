"""Divergence of discrete distributions, exact also where both are nearly equal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from aerialkd.losses.functional.gradients import with_gradient

NEAR = 0.25  # up to here exp(x) - 1 - x is a series
HIGH = 60.0  # up to here exp(x) is finite in single precision, with room for a sum
BLOCK = 2**18  # elements at once on a CPU: intermediate results stay in its cache


def kl_divergence(
    first: Tensor, second: Tensor, tau: float = 1.0, difference: Tensor | None = None
) -> Tensor:
    """KL(p || q) of p = softmax(first / tau) and q = softmax(second / tau).

    ``sum p * log(p / q)`` cancels where p and q are nearly equal: in single precision,
    for logits that differ by 1e-3, it is off by a quarter. Here every term is at least
    0. With ``x = (second - first) / tau``, less its mean under p::

        KL = log(sum p * exp(x)) = log1p(sum p * (exp(x) - 1 - x)),  log(q / p) = x - KL

    The gradients are ``(q - p) / tau = p * (exp(x - KL) - 1) / tau`` for ``second``
    and ``-p * x / tau`` for ``first``.

    Args:
        first: finite logits, (..., K) of two or more dimensions, at least single
            precision.
        second: finite logits, same shape.
        tau: temperature, above 0.
        difference: (second - first) / tau, from a caller that knows it more exactly
            than a subtraction tells. It receives no gradient, the logits do.

    Returns:
        (...), at least 0; 0 with gradient 0 where both are the same.

    Example:
        >>> t = torch.tensor([[1.0, 2.0, 3.0]])
        >>> s = t + 1e-3 * torch.tensor([[1.0, 0.0, -1.0]])
        >>> exact = kl_divergence(t.double(), s.double()).item()
        >>> abs(kl_divergence(t, s).item() / exact - 1) < 1e-5
        True
    """
    inputs = (first, second)
    value = first.new_empty(first.shape[:-1])
    # Contiguous, so that blocks of them can be filled.
    slopes = [first.new_empty(x.shape) if x.requires_grad else None for x in inputs]
    with torch.no_grad():
        for logits, other, x, kl, *block in _blocks(
            first, second, difference, value[..., None], *slopes
        ):
            # Divided last: logits that are near one another subtract without rounding.
            x = (other - logits).div_(tau) if x is None else x
            _of_rows(logits, x, tau, kl, *block)
    return with_gradient(value, slopes, inputs, partial(_as_written, tau=tau))


def _as_written(first: Tensor, second: Tensor, tau: float) -> Tensor:
    log_p, log_q = ((x / tau).log_softmax(-1) for x in (first, second))
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _blocks(first: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Rows (n, K) of each, a part of them at a time on a CPU; None stays None."""
    on_cpu = first.device.type == 'cpu'
    size = BLOCK // max(first.shape[-1], 1) if on_cpu else first.numel()
    parts = (
        repeat(None) if x is None else x.flatten(0, -2).split(max(size, 1))
        for x in (first, *others)
    )
    return zip(*parts, strict=False)  # None is repeated without end


def _of_rows(
    logits: Tensor,
    x: Tensor,
    tau: float,
    kl: Tensor,
    slope_first: Tensor | None,
    slope_second: Tensor | None,
) -> None:
    """Fill in KL of rows, (n, K) x2 -> (n, 1), and the gradients (n, K) wanted."""
    log_p = (logits / tau).log_softmax(-1)
    p = log_p.exp()
    x = x - _sum(p * x)
    x -= _sum(p * x)  # the first mean was rounded to the size of a common offset
    if slope_first is not None:
        torch.mul(p, x, out=slope_first).div_(-tau)
    shift: Tensor | float = 0.0
    # Asked on a CPU alone: on a GPU, asking is waiting.
    if x.device.type != 'cpu' or bool((x > HIGH).any()):
        # KL is at least max(log(p) + x). What of it exp would not bear is taken out.
        shift = ((log_p + x).amax(-1, keepdim=True) - 1).clamp_(min=0)
        x -= shift
    rise, beyond, excess = _growth(p, log_p, x)
    torch.add((_sum(excess) - shift).log1p_(), shift, out=kl)
    if slope_second is not None:
        growth = rise.mul_(p).add_(beyond)
        total = _sum(growth)
        torch.addcmul(growth, p, total, value=-1, out=slope_second)
        slope_second.div_(tau * (1 + total))


def _growth(p: Tensor, log_p: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Parts of p * (exp(x) - 1), and p * (exp(x) - 1 - x); overwrites log_p and x.

    Returns:
        a and b with p * a + b the first, and the second.
    """
    near = x.clamp(-NEAR, NEAR)
    far = x.sub_(near)
    factors = _series(torch.finfo(x.dtype).eps)
    curve = torch.full_like(near, factors[-1])
    for factor in factors[-2::-1]:
        curve.mul_(near).add_(factor)
    curve.mul_(near).mul_(near)  # exp(near) - 1 - near
    rise = near.add_(curve)  # exp(near) - 1
    # exp(near + far) - 1 = rise + (exp(far) - 1) * (1 + rise). Where far is high, p is
    # low: their product is formed in the exponent, which neither of them leaves.
    beyond = log_p.add_(far).exp_().sub_(p)
    beyond.addcmul_(beyond, rise)
    return rise, beyond, curve.sub_(far).mul_(p).add_(beyond)


@cache
def _series(eps: float) -> list[float]:
    """Factors of (exp(x) - 1 - x) / x**2; what is left out is lost in 1 / 2."""
    factors = (1 / math.factorial(power + 2) for power in range(20))
    return [f for power, f in enumerate(factors) if NEAR**power * f > eps / 4]


def _sum(values: Tensor) -> Tensor:
    return values.sum(-1, keepdim=True)
