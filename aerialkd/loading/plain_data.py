"""Making sure that what a checkpoint holds is data: nothing that can be called."""

from __future__ import annotations

from collections import Counter, OrderedDict
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aerialkd.loading.stand_ins import Annealing, Array, DType, History

VALUES = (str, int, float, complex, bool, type(None), bytes, bytearray)
DEEPEST = 100
"""How deep lists and dicts may lie in each other; real ones lie in five or so."""

TORCH_VALUES = (torch.dtype, torch.device, torch.Size, torch.layout)


def settle(content: Any) -> Any:
    """Put the real objects in the place of stand-ins, and refuse all but data.

    Torch's unpickler also yields classes, functions and tensors with attributes or
    hooks. None is of use in a checkpoint, and whoever reads one might call them.

    Args:
        content: what was unpickled; lists and dicts are changed in place.

    Returns:
        The content, with arrays, data types and histories.

    Raises:
        UnpicklingError: if it holds something else than data.
    """
    return _Settler().settled(content)


class _Settler:
    """One pass over a content, in which objects may be shared or hold themselves."""

    def __init__(self) -> None:
        # By identity; the object itself is kept, so that its identity stays its own.
        self.done: dict[int, tuple[Any, Any]] = {}
        self.depth = 0

    def settled(self, value: Any) -> Any:
        kind = type(value)
        if kind in VALUES or kind in TORCH_VALUES or isinstance(value, np.generic):
            return value
        if kind in (Array, DType, History):
            return value.value
        if kind in (Tensor, nn.Parameter):
            return _checked_tensor(value)
        if id(value) in self.done:
            _, known = self.done[id(value)]
            if known is None:
                raise UnpicklingError('a tuple that holds itself')
            return known
        if self.depth == DEEPEST:
            raise UnpicklingError(f'{DEEPEST} levels of lists and dicts')
        self.depth += 1
        known = self._container(value)
        self.depth -= 1
        self.done[id(value)] = (value, known)
        return known

    def _container(self, value: Any) -> Any:
        kind = type(value)
        if kind is tuple:
            self.done[id(value)] = (value, None)
            parts = tuple(self.settled(part) for part in value)
            same = all(new is old for new, old in zip(parts, value, strict=True))
            return value if same else parts
        self.done[id(value)] = (value, value)
        if kind is list:
            value[:] = [self.settled(part) for part in value]
        elif kind is set:
            self._keys(value)
        elif kind in (dict, OrderedDict, Counter):
            self._keys(value)
            for key, part in list(value.items()):
                if type(part) is Annealing:
                    del value[key]
                else:
                    value[key] = self.settled(part)
            self._metadata(value)
        else:
            raise UnpicklingError(f'GLOBAL {_name(value)}')
        return value

    def _keys(self, keys: Any) -> None:
        for key in keys:
            if self.settled(key) is not key:
                raise UnpicklingError(f'a {_name(key)} as a key')

    def _metadata(self, value: dict) -> None:
        """State dicts carry versions of their modules in an attribute."""
        attributes = getattr(value, '__dict__', {})
        if set(attributes) - {'_metadata'}:
            raise UnpicklingError(f'a {_name(value)} with attributes')
        if not attributes:
            return
        metadata = self.settled(attributes['_metadata'])
        if not isinstance(metadata, dict) or not all(
            isinstance(part, dict) for part in metadata.values()
        ):
            raise UnpicklingError('a state dict with versions that are none')


def _checked_tensor(value: Tensor) -> Tensor:
    plain = value.layout is torch.strided and not value.is_meta
    if not plain or vars(value) or value._backward_hooks:
        raise UnpicklingError(
            'a tensor that is sparse, without data, or has attributes or hooks'
        )
    return value


def _name(value: Any) -> str:
    named = value if hasattr(value, '__qualname__') else type(value)
    return f'{named.__module__}.{named.__qualname__}'
