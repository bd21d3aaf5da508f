"""The one reader for files of weights; nothing in a file can run code.

Safetensors hold tensors alone. Pickles (``.pth``) are read with torch's unpickler for
weights and the few stand-ins of :mod:`aerialkd.loading.stand_ins`.
"""

from __future__ import annotations

import logging
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from mmengine.logging import print_log
from safetensors import safe_open
from torch import Tensor

from aerialkd.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointFileError,
    CheckpointRefused,
)
from aerialkd.loading.checkpoint_file import find
from aerialkd.loading.finite import check_finite
from aerialkd.loading.plain_data import settle
from aerialkd.loading.stand_ins import nothing_else_allowed
from aerialkd.loading.trust import FLAG, is_trusting

MapLocation = str | torch.device | dict | Callable | None


def read_checkpoint(
    name: str | Path,
    map_location: MapLocation = 'cpu',
    pinned: bool = True,
    trust: bool | None = None,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Read a ``.safetensors`` or ``.pth`` file without running code from it.

    Args:
        name: the file, or an http or https address; with ``#sha256=DIGEST`` behind it
            the content is compared with that before anything is parsed.
        map_location: where tensors go, as for :func:`torch.load`.
        pinned: whether an address needs a digest.
        trust: unpickle in full what is refused otherwise, which can run any code; None
            for what :func:`aerialkd.loading.trusting` or the command line says.
        kept: where a download is kept; None for torch.hub's folder.

    Returns:
        The content; a safetensors file as ``state_dict`` and ``meta``.

    Raises:
        CheckpointRefused: if it holds more than weights and plain data.
        CheckpointError: if it is missing, damaged, or another than its digest says, or
            its weights are not finite.
    """
    file = find(name, pinned, kept)
    try:
        with file.path.open('rb') as opened:
            file.check(opened)
            if file.path.suffix == '.safetensors':
                content = _read_safetensors(file.path, map_location)
                check_finite(content, str(file.path))
                return content
            return read_pickle(opened, str(file.path), map_location, trust)
    except OSError as error:
        message = f'{file.path}: cannot be read: {error}'
        raise CheckpointFileError.of(message, error) from error


def read_pickle(
    opened: BinaryIO,
    name: str,
    map_location: MapLocation = 'cpu',
    trust: bool | None = None,
) -> dict[str, Any]:
    """Read what ``torch.save`` wrote; see :func:`read_checkpoint`.

    Args:
        opened: the file.
        name: what errors call it.
        map_location: where tensors go, as for :func:`torch.load`.
        trust: unpickle in full what is refused otherwise.

    Raises:
        CheckpointRefused: if it holds more than weights and plain data.
        CheckpointError: if it is damaged, or its weights are not finite.
    """
    try:
        content = _unpickle_plain(opened, map_location)
    # A broken file makes torch raise nearly everything there is.
    except Exception as error:
        trusted = is_trusting() if trust is None else trust
        # The opt-in is for what is refused; being damaged is no reason to run a file.
        if not (trusted and isinstance(error, UnpicklingError)):
            raise _problem(name, error) from error
        print_log(
            f'{name}: is unpickled in full, as {FLAG} says; it can run any code.',
            logger='current',
            level=logging.WARNING,
        )
        content = _unpickle_in_full(opened, name, map_location)
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{name}: holds a {type(content).__name__}, expected a state dict.'
        )
    check_finite(content, name)
    return content


def _unpickle_plain(opened: BinaryIO, map_location: MapLocation) -> Any:
    _check_archive(opened)
    opened.seek(0)
    with warnings.catch_warnings(), nothing_else_allowed():
        warnings.simplefilter('ignore')  # what is odd is refused, or was meant
        return settle(torch.load(opened, map_location, weights_only=True))


def _unpickle_in_full(opened: BinaryIO, name: str, map_location: MapLocation) -> Any:
    """What the explicit opt-in asks for, and nothing else leads to."""
    opened.seek(0)
    try:
        return torch.load(opened, map_location, weights_only=False)
    except Exception as error:
        raise CheckpointDamaged(
            f'{name}: damaged, or of classes that are not installed: {_line(error)}'
        ) from error


def _check_archive(opened: BinaryIO) -> None:
    """Refuse archives that unpack into more than they are; torch packs nothing."""
    opened.seek(0)
    if opened.read(4) != b'PK\x03\x04':
        return
    with zipfile.ZipFile(opened) as archive:
        entries = archive.infolist()
    size = opened.seek(0, 2)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError('its entries are compressed, which torch.save never does')
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError(f'its entries claim to be larger than the file ({size} bytes)')


def _problem(name: str, error: Exception) -> CheckpointError:
    # torch wraps its sentence into advice of many lines.
    reason = str(error).partition('Check the documentation')[0]
    reason = reason.rpartition('WeightsUnpickler error:')[2].strip()
    reason = reason.rpartition('\n\n')[2].partition('In PyTorch 2.6')[0]
    reason = _line(reason or repr(error))
    if not isinstance(error, UnpicklingError) or 'Unsupported operand' in reason:
        return CheckpointDamaged(f'{name}: damaged or no checkpoint: {reason}')
    found = re.search(r'GLOBAL \S+', reason)
    return CheckpointRefused(
        f'{name}: refused, it holds more than weights '
        f'({found.group() if found else reason}). Save it again with '
        "torch.save({'state_dict': model.state_dict()}, ...) where it was made; or, if "
        f'you trust whoever made it with everything on this machine, give {FLAG}.'
    )


def _line(error: Exception | str) -> str:
    """One printable line of a message, which quotes the file at times."""
    text = ' '.join(str(error).split())
    return ''.join(c if c.isprintable() else '?' for c in text)[:200]


def _read_safetensors(path: Path, map_location: MapLocation) -> dict[str, Any]:
    device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
    try:
        with safe_open(path, framework='pt') as opened:
            state: dict[str, Tensor] = {
                key: opened.get_tensor(key).to(device)
                for key in opened.keys()  # noqa: SIM118
            }
            classes = (opened.metadata() or {}).get('classes')
    except Exception as error:
        raise CheckpointDamaged(
            f'{path}: not a safetensors file: {_line(error)}'
        ) from error
    meta: dict[str, Any] = {}
    if classes:
        meta['dataset_meta'] = dict(classes=tuple(classes.split('\n')))
    return dict(state_dict=state, meta=meta)
