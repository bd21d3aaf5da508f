"""Counts that divide a loss, when several processes share a batch."""

from __future__ import annotations

import torch
from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor


def averaged_count(count: Tensor) -> Tensor:
    """Average a count over the processes, which then divide by the same number.

    DDP averages gradients. With ``sum of a process / average count``, their average is
    ``sum of all / count of all``: that of one process with the whole batch, however
    unevenly the objects are spread. ``sum / own count`` would weigh the few objects of
    one process like the many of another.

    All processes have to call it, with or without objects.

    Args:
        count: what the own batch holds, of any shape; gets no gradient.

    Returns:
        At least single precision; where nobody has any, a process's share of 1.
        Without other processes, the count itself, at least 1.

    Example:
        >>> averaged_count(torch.tensor([0, 3])).tolist()
        [1.0, 3.0]
    """
    single = torch.promote_types(count.dtype, torch.float32)
    return reduce_mean(count.detach().to(single)).clamp(min=1 / get_world_size())
