"""Reading weights without running code from the file, and matching them strictly."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from aerialkd.errors import CheckpointError

HISTORY_METHODS = {'min', 'max', 'mean', 'current'}


@dataclass(frozen=True)
class Weights:
    """Weights of a detector and what their file says about them.

    Attributes:
        path: the file.
        state_dict: tensors by name, as in the plain detector.
        classes: class names in the order of the outputs; None where not stated.
    """

    path: str
    state_dict: dict[str, Tensor]
    classes: tuple[str, ...] | None


def load_weights(path: str | Path) -> Weights:
    """Read a ``.safetensors`` file or an MMEngine ``.pth`` checkpoint.

    Prefixes of wrappers are taken off (``module.`` of DDP, ``architecture.`` of
    mmrazor); what belongs to distillation (``teacher.``, ``distiller.``) is dropped.

    Raises:
        CheckpointError: if the file is missing, unreadable or not a checkpoint, or
            holds objects beyond a narrow allow-list.
    """
    file = Path(path)
    if '://' in str(path):
        raise CheckpointError(f'{path}: only local files are read; download it first.')
    if not file.is_file():
        raise CheckpointError(f'{path}: no such checkpoint file.')
    if file.suffix == '.safetensors':
        state, classes = _read_safetensors(file)
    else:
        content = read_checkpoint(file)
        state = content.get('state_dict', content)
        meta = content.get('meta')
        classes = _classes_of(meta if isinstance(meta, dict) else {})
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f'{path}: not a state dict of tensors; top-level keys: {_some(state)}.'
        )
    return Weights(str(path), _plain_names(state), classes)


def read_checkpoint(file: str | Path) -> dict[str, Any]:
    """Read a ``.pth`` file with ``weights_only`` and MMEngine's few extra types.

    Raises:
        CheckpointError: if the file is damaged or asks for other objects.
    """
    try:
        with torch.serialization.safe_globals(_allowed()):
            content = torch.load(file, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next(
            (line for line in str(error).splitlines() if 'GLOBAL' in line), str(error)
        )
        raise CheckpointError(
            f'{file}: refused, it holds more than weights ({reason.strip()[:200]}). '
            "Save it again with torch.save({'state_dict': model.state_dict()}, ...) "
            'where it was made.'
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f'{file}: damaged or no checkpoint: {error}') from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{file}: holds a {type(content).__name__}, expected a state dict.'
        )
    return content


def load_strictly(
    model: nn.Module, weights: Weights, may_differ: Iterable[str] = ()
) -> None:
    """Load weights into a model; every key must be there with the right shape.

    Args:
        model: the detector.
        weights: from :func:`load_weights`.
        may_differ: shell patterns of keys that may be absent, extra or of another
            shape, and are then left as they are (``'bbox_head.*'``).

    Raises:
        CheckpointError: if other keys differ; lists them.
    """
    patterns = tuple(may_differ)
    wanted, given = model.state_dict(), weights.state_dict
    reshaped = [k for k in wanted if k in given and wanted[k].shape != given[k].shape]
    problems = {
        'missing from the file': [k for k in wanted if k not in given],
        'not in the model': [k for k in given if k not in wanted],
        'of another shape': reshaped,
    }
    forbidden = {
        what: [k for k in keys if not any(fnmatch(k, p) for p in patterns)]
        for what, keys in problems.items()
    }
    if any(forbidden.values()):
        shapes = [
            f'{k} (file {tuple(given[k].shape)}, model {tuple(wanted[k].shape)})'
            for k in forbidden['of another shape']
        ]
        forbidden['of another shape'] = shapes
        listed = '; '.join(
            f'{len(v)} {k}: {_some(v)}' for k, v in forbidden.items() if v
        )
        raise CheckpointError(
            f'{weights.path} does not fit {type(model).__name__} ({len(wanted)} keys): '
            f'{listed}'
        )
    usable = {k: v for k, v in given.items() if k in wanted and k not in reshaped}
    model.load_state_dict(usable, strict=False)


def _some(keys: Iterable[str], limit: int = 6) -> str:
    keys = list(keys)
    more = f', and {len(keys) - limit} more' if len(keys) > limit else ''
    return ', '.join(map(str, keys[:limit])) + more


def _plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as in the plain detector; distillation's own parts are left out."""
    plain = {}
    for key, value in state.items():
        name = key.removeprefix('module.')
        if not name.startswith(('teacher.', 'distiller.')):
            plain[name.removeprefix('architecture.')] = value
    return plain


def _classes_of(meta: dict[str, Any]) -> tuple[str, ...] | None:
    dataset_meta = meta.get('dataset_meta') or {}
    classes = dataset_meta.get('classes') or meta.get('CLASSES')
    return tuple(classes) if classes else None


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    try:
        with safe_open(file, framework='pt') as opened:
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            classes = (opened.metadata() or {}).get('classes')
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f'{file}: not a safetensors file: {error}') from error
    return state, tuple(classes.split('\n')) if classes else None


def _history_method(owner: type, name: str) -> Any:
    """Stand in for ``getattr`` in checkpoints: methods of HistoryBuffer alone."""
    if owner is not HistoryBuffer or name not in HISTORY_METHODS:
        raise pickle.UnpicklingError(f'Unsupported GLOBAL getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _allowed() -> list[Any]:
    """What a training checkpoint of MMEngine holds beyond tensors: its log history."""
    core: Any = np._core if hasattr(np, '_core') else np.core  # NumPy 2, NumPy 1
    dtypes = {
        type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', 'u4', 'u8', '?')
    }
    return [
        HistoryBuffer,
        (_history_method, 'builtins.getattr'),
        core.multiarray._reconstruct,
        core.multiarray.scalar,
        np.ndarray,
        np.dtype,
        *dtypes,
    ]
