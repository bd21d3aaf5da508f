"""Statistics of normalization that files of early MMDetection 3 hold beside weights.

Data preprocessors saved their ``mean`` and ``std`` then; today the config alone states
them. They are not weights: what a file has is compared, and left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

_STATISTICS = re.compile(r'(?:^|\.)data_preprocessor\.(mean|std)$')
_CLOSE = 1e-3  # half precision keeps three digits

# Averaged weights (EMAHook) are loaded from the same file, too.
_said: set[str] = set()


def new_file() -> None:
    """Note that another file is read, of which everything is to be said."""
    _said.clear()


def statistic_of(key: str) -> str | None:
    """``'mean'`` or ``'std'`` if a key of a state dict is one of those; else None."""
    found = _STATISTICS.search(key)
    return found.group(1) if found else None


def compare_normalization(
    state: Mapping[str, Tensor], preprocessor: Any, where: str, once: bool = False
) -> None:
    """Warn, in one line, of weights that were trained with another normalization.

    Only values can be compared: a file does not state its order of channels.

    Args:
        state: of a checkpoint, with or without statistics.
        preprocessor: data preprocessor of the model that gets the weights.
        where: what the warning calls the checkpoint.
        once: whether the warning is not repeated for the file that was read last.
    """
    named = {key: name for key in state if (name := statistic_of(key))}
    given = {name: state[key].flatten() for key, name in named.items()}
    own = {name: _own(preprocessor, name) for name in given}
    if all(_same(value, own[name]) for name, value in given.items()):
        return
    turned = all(_same(value.flip(0), own[name]) for name, value in given.items())
    order = '; these are the same in the other order of channels' if turned else ''
    message = (
        f'{where}: its weights were trained with another normalization: got '
        f'{_text(given)}, expected {_text(own)} of the config, which is used{order}. '
        "To use the file's, set data_preprocessor in the config."
    )
    if not (once and message in _said):
        print_log(message, logger='current', level=logging.WARNING)
    if once:
        _said.add(message)


def take_out_statistics(
    preprocessor: nn.Module, state: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Load hook of data preprocessors: leave out what today's have not in state dicts.

    Args:
        preprocessor: the module that is being loaded.
        state: changed in place.
        prefix: of the module's keys.
    """
    names = {'mean', 'std'} - set(nn.Module.state_dict(preprocessor))
    found = {
        f'data_preprocessor.{name}': state.pop(prefix + name)
        for name in names
        if isinstance(state.get(prefix + name), Tensor)
    }
    if found:
        compare_normalization(found, preprocessor, 'The checkpoint', once=True)


def _own(preprocessor: Any, name: str) -> Tensor | None:
    value = getattr(preprocessor, name, None)
    return value.flatten() if isinstance(value, Tensor) else None


def _same(value: Tensor, own: Tensor | None) -> bool:
    if own is None or value.numel() != own.numel():
        return False
    a, b = (v.detach().cpu().float() for v in (value, own))
    return torch.allclose(a, b, rtol=_CLOSE, atol=_CLOSE)


def _text(statistics: Mapping[str, Tensor | None]) -> str:
    return ', '.join(f'{name} {_values(v)}' for name, v in sorted(statistics.items()))


def _values(value: Iterable[Tensor] | None) -> str:
    if value is None:
        return 'none'
    return '[' + ', '.join(f'{float(part):.6g}' for part in value) + ']'
