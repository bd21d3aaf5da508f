"""Weights of a detector: taken out of their file, and matched strictly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from aerialkd.errors import CheckpointError
from aerialkd.loading import read_checkpoint
from aerialkd.loading.checkpoint_file import split_digest
from aerialkd.loading.normalization import compare_normalization, statistic_of

# Wrappers around the detector, and what stands beside it in distillations: of mmrazor,
# and of those in which teacher and student are parts of one detector.
_WRAPPERS = ('architecture.', 'student.')
_BESIDE = ('teacher.', 'distiller.', 'distill_losses.')
# Counted, or kept by a head's loss, in training; nothing that detects reads them.
_OF_TRAINING = re.compile(r'(?:^|\.)num_batches_tracked$|head\.(?:\d+\.)?loss_\w+\.')


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


def load_weights(path: str | Path, trust: bool | None = None) -> Weights:
    """Read a ``.safetensors`` file or an MMEngine ``.pth`` checkpoint.

    Prefixes of wrappers are taken off (``module.`` of DDP, ``architecture.`` of
    mmrazor, ``student.``); what belongs to distillation (``teacher.``, ``distiller.``)
    is dropped, and so are the second copies of all weights that MMDetection 2 saved of
    averaged ones (``ema_backbone_conv1_weight``).

    Args:
        path: the file or its http(s) address, which needs a digest; with
            ``#sha256=DIGEST`` behind it the content must have that SHA-256.
        trust: unpickle in full what is refused otherwise, which can run any code; None
            for what :func:`aerialkd.loading.trusting` or the command line says.

    Raises:
        CheckpointError: if the file is missing, unreadable, another than its digest
            says, not a checkpoint, holds objects beyond a narrow allow-list, or weights
            that are not finite.
    """
    content = read_checkpoint(path, trust=trust)
    file, _ = split_digest(path)
    state = content.get('state_dict', content)
    meta = content.get('meta')
    if isinstance(state, dict) and isinstance(state.get('_metadata'), dict):
        state = {key: value for key, value in state.items() if key != '_metadata'}
    if (
        not isinstance(state, dict)
        or not state
        or not all(
            isinstance(key, str) and isinstance(value, Tensor)
            for key, value in state.items()
        )
    ):
        raise CheckpointError(
            f'{file}: not a state dict of tensors; top-level keys: {_some(content)}.'
        )
    classes = _classes_of(meta if isinstance(meta, dict) else {}, file)
    return Weights(file, _plain_names(state), classes)


def load_strictly(
    model: nn.Module,
    weights: Weights,
    may_differ: Iterable[str] = (),
    preprocessor: nn.Module | None = None,
) -> None:
    """Load weights into a model; every key must be there with the right shape.

    Excepted are keys without a part in detecting: counters of batch norms, buffers of
    losses, and buffers that the model has from its config, if they are equal. Other
    statistics of normalization than the config's are a warning.

    Args:
        model: the detector.
        weights: from :func:`load_weights`.
        may_differ: shell patterns of keys that may be absent, extra or of another
            shape, and are then left as they are (``'bbox_head.*'``).
        preprocessor: data preprocessor whose normalization the model sees; None for
            its own.

    Raises:
        CheckpointError: if other keys differ; lists them.
    """
    patterns = tuple(may_differ)
    wanted, given = model.state_dict(), weights.state_dict
    reshaped = [k for k in wanted if k in given and wanted[k].shape != given[k].shape]
    problems = {
        'missing from the file': _missing(model, given),
        'not in the model': _extra(model, given),
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
    seen = preprocessor or getattr(model, 'data_preprocessor', None)
    compare_normalization(given, seen, weights.path)


def _missing(model: nn.Module, given: dict[str, Tensor]) -> list[str]:
    """Keys without which a file does not fit a model."""
    learned = dict(model.named_parameters())
    return [
        key
        for key in model.state_dict()
        if key not in given and (key in learned or not _OF_TRAINING.search(key))
    ]


def _extra(model: nn.Module, given: dict[str, Tensor]) -> list[str]:
    """Keys of a file that mean another model than this."""
    wanted, buffers = model.state_dict(), dict(model.named_buffers())

    def is_harmless(key: str, value: Tensor) -> bool:
        if _OF_TRAINING.search(key) or statistic_of(key):
            return True
        own = buffers.get(key)  # one that is made from the config, and not saved
        if own is None or own.numel() != value.numel():
            return False
        difference = value.flatten().double() - own.flatten().cpu().double()
        return bool((difference.abs() < 1e-6).all())

    return [
        key
        for key, value in given.items()
        if key not in wanted and not is_harmless(key, value)
    ]


def _some(keys: Iterable[str], limit: int = 6) -> str:
    keys = list(keys)
    more = f', and {len(keys) - limit} more' if len(keys) > limit else ''
    return ', '.join(map(str, keys[:limit])) + more


def _plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as in the plain detector; distillation's own parts are left out."""
    named = {key.removeprefix('module.'): value for key, value in state.items()}
    averaged = {'ema_' + name.replace('.', '_') for name in named}
    plain = {}
    for name, value in named.items():
        if not name.startswith(_BESIDE) and name not in averaged:
            for wrapper in _WRAPPERS:
                name = name.removeprefix(wrapper)
            plain[name] = value
    return plain


def _classes_of(meta: dict[str, Any], file: str) -> tuple[str, ...] | None:
    dataset_meta = meta.get('dataset_meta')
    dataset_meta = dataset_meta if isinstance(dataset_meta, dict) else {}
    classes = dataset_meta.get('classes') or meta.get('CLASSES')
    if not classes:
        return None
    names = tuple(classes) if isinstance(classes, list | tuple) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f'{file}: meta: got classes that are no list of names.')
    return names
