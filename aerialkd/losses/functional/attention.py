"""Weights of cells, channels and objects: attention and Area-softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional.checks import at_least_float


def spatial_channel_attention(
    feat: Tensor, temperature: float, valid: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Where and in which channels a feature map is active (RDR-KD eq. 1, 2).

    The equations are lost from the paper's text; what survives matches FGD (Yang et
    al., CVPR 2022, eq. 4 to 7), whose form is used. With F the map and T the
    temperature:

        A_s = HW * softmax over the cells of (mean over the channels of |F|) / T
        A_c = C * softmax over the channels of (mean over the cells of |F|) / T

    Args:
        feat: (N, C, H, W).
        temperature: T > 0; the smaller, the sharper.
        valid: (N, H, W) bool, cells that the image covers; the others get A_s = 0
            and have no influence. All cells when omitted.

    Returns:
        A_s (N, H, W), with mean 1 over an image's (valid) cells, and A_c (N, C), with
        mean 1.

    Raises:
        ShapeError: if the map has not four dimensions, or ``valid`` does not fit.
        ConfigError: if the temperature is not positive.

    Example:
        >>> spatial, channel = spatial_channel_attention(torch.ones(1, 3, 2, 2), 0.5)
        >>> spatial.tolist(), channel.tolist()
        ([[[1.0, 1.0], [1.0, 1.0]]], [[1.0, 1.0, 1.0]])
    """
    if feat.ndim != 4:
        raise ShapeError(
            f'spatial_channel_attention: got {tuple(feat.shape)}, expected (N, C, H, W)'
        )
    if temperature <= 0:
        raise ConfigError(f'temperature: got {temperature}, expected more than 0.')
    num, channels, height, width = feat.shape
    active = at_least_float(feat).abs()
    cells = (active.mean(1) / temperature).flatten(1)  # (N, HW)
    if valid is None:
        across = active.mean((2, 3))
        count: Tensor | int = height * width
    else:
        if valid.shape != (num, height, width):
            raise ShapeError(
                f'valid: got {tuple(valid.shape)}, expected {(num, height, width)}.'
            )
        count = valid.flatten(1).sum(1, keepdim=True)
        cells = cells.masked_fill(~valid.flatten(1), -torch.inf)
        across = (active * valid[:, None]).sum((2, 3)) / count
    spatial = (count * cells.softmax(1)).view(num, height, width)
    return spatial, channels * (across / temperature).softmax(1)


def area_softmax(
    areas: Tensor, temperature: float = 20.0, bias: float = 0.005
) -> Tensor:
    """Area-softmax: small objects weigh more (RDR-KD eq. 7).

    ``exp((1 - x_i - b) / T) / sum over j of exp((1 - x_j - b) / T)``; b cancels.

    Args:
        areas: x, areas of the objects of an image, (Q,) or (..., Q) for several at
            once; an infinite area gets weight 0. With T = 20 and fractions of the
            image the weights are nearly equal, with pixels nearly one-hot.
        temperature: T > 0.
        bias: b, inert.

    Returns:
        Weights of the same shape and type that sum to 1 over the last dimension.

    Raises:
        ConfigError: if the temperature is not positive.

    Example:
        >>> area_softmax(torch.tensor([0.0, 20 * torch.tensor(3.0).log()])).tolist()
        [0.75, 0.25]
    """
    if temperature <= 0:
        raise ConfigError(f'temperature: got {temperature}, expected more than 0.')
    # Double: in pixels, 1 - x - b loses the small differences.
    weights = ((1 - areas.double() - bias) / temperature).softmax(-1)
    return weights.to(areas.dtype if areas.is_floating_point() else torch.float32)
