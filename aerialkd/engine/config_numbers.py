"""Numbers of a config that a training cannot do with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from aerialkd.errors import ConfigError

# What multiplies losses and gradients: must be finite numbers, whoever's class it is.
_FINITE = {'loss_weight', 'lr', 'weight_decay', 'momentum'}
# How often and how long: what MMEngine would divide by, or do without a word.
_COUNTS = {'max_epochs', 'max_iters', 'val_interval', 'accumulative_counts'}
_PARTS = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg')
_DICTS = ('model', 'optim_wrapper', 'train_cfg', 'train_dataloader', 'default_hooks')


def check_numbers(cfg: Config) -> None:
    """Refuse what would make every step useless, before anything is built.

    Raises:
        ConfigError: if a number of model, optimizer or schedule is NaN, the weight of a
            loss, a learning rate, a weight decay or a momentum no finite number, a
            number of epochs or iterations none from 1 on, or a part no dict.
    """
    for part in _DICTS:
        value = cfg.get(part)
        if value is not None and not isinstance(value, dict):
            raise ConfigError(f'{part}: got {value!r}, expected a dict; correct it.')
    for part in _PARTS:
        for key, value in _leaves(cfg.get(part), part):
            name = key.rpartition('.')[2]
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            wrong = is_number and math.isnan(value)
            if name in _FINITE and value is not None:
                wrong = not is_number or not math.isfinite(value)
            if wrong:
                raise ConfigError(
                    f'{key}: got {value!r}, expected a finite number; correct it.'
                )
            if name in _COUNTS and (type(value) is not int or value < 1):
                raise ConfigError(
                    f'{key}: got {value!r}, expected a whole number from 1 on; correct '
                    'it.'
                )


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Dotted path and value of what is neither dict nor list."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f'{key}.{name}')
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _leaves(item, f'{key}.{number}')
    else:
        yield key, value
