"""Distances of class logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from aerialkd.errors import ConfigError
from aerialkd.losses.functional.checks import at_least_float, same_shape


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
