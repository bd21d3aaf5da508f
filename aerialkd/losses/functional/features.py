"""Distances of feature maps."""

from __future__ import annotations

import torch
from torch import Tensor

from aerialkd.errors import ShapeError
from aerialkd.losses.functional.checks import above_zero, at_least_float, same_shape
from aerialkd.losses.functional.divergence import kl_divergence

STD_EPS = 1e-6  # PKD's official code adds it to the standard deviation


def channel_wise_divergence(s: Tensor, t: Tensor, tau: float = 1.0) -> Tensor:
    """CWD: where each channel is active (Shu et al. 2021).

    Each channel becomes a distribution over its cells, phi = softmax(map / tau):

        L = tau^2 / (N * C) * sum over images, channels and cells of
            phi_t * log(phi_t / phi_s)

    Args:
        s: student maps, (N, C, H, W): features, or class logits.
        t: teacher maps, same shape; receives no gradient.
        tau: temperature, above 0.

    Returns:
        Scalar, at least 0; 0 where the channels differ by a constant.

    Raises:
        ShapeError: if the shapes differ.
        ConfigError: if tau is not above 0.

    Example:
        >>> s, t = torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, 3.0]]]]).log1p()
        >>> round(channel_wise_divergence(s, t).item(), 4)  # ln 2 - entropy(1/5, 4/5)
        0.1927
    """
    same_shape('channel_wise_divergence', s, t)
    above_zero('tau', tau)
    s, t = (at_least_float(x).flatten(2) for x in (s, t.detach()))
    return tau**2 * kl_divergence(t, s, tau).mean()  # of (N, C)


def pearson_loss(s: Tensor, t: Tensor) -> Tensor:
    """PKD: distance of channel-standardised features (Cao et al. 2022, eq. 4).

    Each channel is brought to mean 0 and (unbiased) standard deviation 1 over the
    batch and all cells; the loss is half the mean squared difference, which is one
    minus the Pearson correlation, up to the factor of the unbiased deviation.

    A channel that is constant (deviation of at most 1e-6, relative to its mean where
    that exceeds 1) has no direction: it is
    standardised to 0 and gives the student no gradient, where dividing by the
    deviation would multiply it by a million.

    Args:
        s: student features, (N, C, H, W).
        t: teacher features, same shape; receives no gradient.

    Returns:
        Scalar in [0, 2]; (m - 1) / m * (1 - mean channel correlation), m = N * H * W.

    Raises:
        ShapeError: if the shapes differ.

    Example:
        >>> s = torch.randn(2, 3, 8, 8)
        >>> bool(pearson_loss(s, 5 * s + 1) < 1e-5)
        True
    """
    return _standardised_difference('pearson_loss', s, t).square().mean() / 2


def pearson_map(s: Tensor, t: Tensor) -> Tensor:
    """What each cell adds to :func:`pearson_loss`, the mean of this map.

    Args:
        s: student features, (N, C, H, W).
        t: teacher features, same shape; receives no gradient.

    Returns:
        (N, H, W), half the mean over channels of the squared difference between the
        channel-standardised features.

    Raises:
        ShapeError: if the shapes differ.

    Example:
        >>> s, t = torch.randn(2, 2, 3, 8, 8)
        >>> bool((pearson_map(s, t).mean() - pearson_loss(s, t)).abs() < 1e-5)
        True
    """
    return _standardised_difference('pearson_map', s, t).square().mean(1) / 2


def match_statistics(s: Tensor, t: Tensor) -> Tensor:
    """Bring a map's channels to the mean and deviation of another's (CrossKD).

    ``(s - mean_s) / (std_s + 1e-6) * std_t + mean_t``, each over the batch and all
    cells, deviations unbiased. Of a constant channel of the student, as of a map of a
    single cell, the mean of the teacher's is left and no gradient: see
    :func:`pearson_loss` for what counts as constant. A single cell has deviation 0.

    Args:
        s: student features, (N, C, H, W).
        t: teacher features, as many channels on a grid of any size; gets no gradient.

    Returns:
        Of the shape and type of ``s``; computed in at least single precision.

    Raises:
        ShapeError: if the channels differ.

    Example:
        >>> s = torch.tensor([[[[0.0, 2.0]]]])
        >>> t = torch.tensor([[[[5.0, 9.0]]]])
        >>> match_statistics(s, t).round().flatten().tolist()
        [5.0, 9.0]
    """
    if s.shape[1] != t.shape[1]:
        raise ShapeError(
            f'match_statistics: student {tuple(s.shape)} and teacher {tuple(t.shape)} '
            'must have as many channels. Different ones need a connector.'
        )
    t = at_least_float(t.detach())
    mean = t.mean((0, 2, 3), keepdim=True)
    return (_standardise(s) * _variance(t - mean).sqrt() + mean).to(s.dtype)


def _standardised_difference(name: str, s: Tensor, t: Tensor) -> Tensor:
    same_shape(name, s, t)
    return _standardise(s) - _standardise(t.detach())


def _standardise(feat: Tensor) -> Tensor:
    """Channels of (N, C, H, W) with mean 0 and deviation 1; constant ones become 0."""
    feat = at_least_float(feat)
    mean = feat.mean((0, 2, 3), keepdim=True)
    centred = feat - mean
    variance = _variance(centred)
    # Relative to the mean, because float noise of a constant grows with its value.
    live = variance > STD_EPS**2 * (1 + mean.square())
    # sqrt has no finite slope at 0, so that dead channels must not pass through it.
    deviation = variance.where(live, torch.ones_like(variance)).sqrt() + STD_EPS
    return centred * live / deviation


def _variance(centred: Tensor) -> Tensor:
    """Unbiased, of channels with mean 0, (1, C, 1, 1); 0 for a single cell."""
    num = centred.numel() // centred.shape[1]
    return centred.square().sum((0, 2, 3), keepdim=True) / max(num - 1, 1)


def squared_distance(s: Tensor, t: Tensor) -> Tensor:
    """Squared difference summed over the channels, (N, C, H, W) x2 -> (N, H, W)."""
    return (at_least_float(t.detach()) - at_least_float(s)).square().sum(1)
