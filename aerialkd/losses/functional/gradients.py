"""Values whose gradient is computed with them, more exactly than autograd would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def with_gradient(
    value: Tensor,
    slopes: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    plain: Callable[..., Tensor],
) -> Tensor:
    """Attach a value to the graph of its inputs.

    Args:
        value: f(inputs), without a graph.
        slopes: for each input, of its shape, the derivative of the element of ``value``
            that it belongs to; dimensions that ``value`` lacks are the last. None for
            inputs that require no gradient.
        inputs: what f depends on.
        plain: f, as autograd knows it: asked for derivatives of the gradient alone.

    Returns:
        The value.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> with_gradient(torch.tensor(9.0), [torch.tensor(6.0)], [x], torch.square)
        tensor(9., grad_fn=<_WithGradientBackward>)
    """
    return _WithGradient.apply(plain, (value, slopes), *inputs)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        plain: Callable[..., Tensor],
        results: tuple[Tensor, Sequence[Tensor | None]],
        *inputs: Tensor,
    ) -> Tensor:
        value, slopes = results
        ctx.plain = plain
        ctx.save_for_backward(*inputs, *slopes)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        num = len(ctx.saved_tensors) // 2
        inputs, slopes = ctx.saved_tensors[:num], ctx.saved_tensors[num:]
        if not torch.is_grad_enabled():
            grads = [
                None if x is None else x * grad[(...,) + (None,) * (x.ndim - grad.ndim)]
                for x in slopes
            ]
            return None, None, *grads
        pairs = list(zip(inputs, slopes, strict=True))
        wanted = [x for x, slope in pairs if slope is not None]
        found = torch.autograd.grad(ctx.plain(*inputs), wanted, grad, create_graph=True)
        rest = iter(found)
        return None, None, *(None if x is None else next(rest) for x in slopes)
