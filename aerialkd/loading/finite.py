"""Refusing weights that are not finite, when they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from aerialkd.errors import CheckpointError

# Buffers that are infinite on purpose: masks of attention, anchors outside the image
# (RT-DETR), ranges of observers that have seen nothing.
_MAY_BE_INFINITE = re.compile(r'(?:^|[._])(?:masks?|anchors?|min_val|max_val)$')


def check_finite(content: Mapping[Any, Any], name: str) -> None:
    """Make sure that the weights in a checkpoint are finite.

    Looked at are the content itself and each dict in it that maps names to tensors:
    ``state_dict``, ``ema_state_dict``, ``model``. Floating-point and complex values
    may not be NaN; infinite ones are left to buffers called mask, anchors, min_val or
    max_val.

    Args:
        content: of a checkpoint.
        name: its file.

    Raises:
        CheckpointError: if a value is not finite; names the tensor.
    """
    parts = {key: part for key, part in content.items() if isinstance(part, Mapping)}
    for part, tensors in {'': content, **parts}.items():
        for key, value in tensors.items():
            if isinstance(value, Tensor):
                _check(value, f'{part}: {key}' if part else str(key), str(key), name)


def check_optimizer_finite(state: Any, name: str) -> None:
    """Make sure that an optimizer's averages can be trained on from.

    Args:
        state: state dict of an optimizer, or of several by name.
        name: the checkpoint's file.

    Raises:
        CheckpointError: if a value is not finite; names the tensor.
    """
    for key, value in _tensors(state, 'optimizer'):
        _check(value, key, key, name)


def _tensors(part: Any, where: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(part, Tensor):
        yield where, part
    elif isinstance(part, Mapping):
        for key, value in part.items():
            yield from _tensors(value, f'{where}.{key}')


def _check(value: Tensor, where: str, key: str, file: str) -> None:
    if not (value.is_floating_point() or value.is_complex()):
        return
    if value.is_floating_point() and value.element_size() == 1:
        value = value.float()  # torch sums no float8
    # A sum costs an eighth of looking at each value; it may overflow, hence the rest.
    if bool(value.sum().isfinite()):
        return
    bad = ~value.isfinite()
    if _MAY_BE_INFINITE.search(key):
        bad = value.isnan()
    count = int(bad.sum())
    if count:
        kind = 'NaN' if bool(value.isnan().any()) else 'infinite'
        raise CheckpointError(
            f'{file}: {where}: got {count} of {value.numel()} values that are not '
            f'finite ({kind}), expected numbers: whatever wrote it had diverged. Name '
            'an earlier checkpoint, or train again with a lower learning rate.'
        )
