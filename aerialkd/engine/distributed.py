"""What the processes of a training have to agree on, and the model behind them."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def on_any_rank(happened: bool) -> bool:
    """Whether something happened in any process; every process has to ask."""
    return bool(highest_on_any_rank(happened))


def highest_on_any_rank(value: int) -> int:
    """The highest of all processes' values; every process has to ask."""
    if get_world_size() == 1:
        return value
    highest = torch.tensor(float(value))
    all_reduce(highest, 'max')
    return int(highest.item())


def plain_model(runner: Runner) -> nn.Module:
    """A runner's model without what distributes it."""
    model: Any = runner.model
    plain: nn.Module = model.module if is_model_wrapper(model) else model
    return plain
