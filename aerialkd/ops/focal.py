"""Focal loss of sigmoid scores in plain torch; mmdet asks for an operator on a GPU."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal_loss(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    """Focal loss of every class score (Lin et al. 2017, eq. 5).

    Args:
        logits: (n, K).
        target: class of each row in [0, K], (n,); K is the background.
        weight: of each class, (K,), which counts for the rows of that class; or (0,).
        gamma: how much less easy scores count.
        alpha: weight of positives; negatives have ``1 - alpha``.

    Returns:
        (n, K).
    """
    positive = F.one_hot(target, logits.shape[1] + 1)[:, :-1].to(logits)
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    # Powers of p and 1 - p through their logarithms: no infinite slope at 0.
    loss = -alpha * positive * (gamma * log_q).exp() * log_p
    loss = loss - (1 - alpha) * (1 - positive) * (gamma * log_p).exp() * log_q
    return loss * weight[target][:, None] if len(weight) else loss
