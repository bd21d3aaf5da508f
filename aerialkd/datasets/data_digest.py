"""A digest of the files that data sets are read from, by which changes are noticed."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS

from aerialkd.files import sha256_of

# Read in full. Of all others, images above all, names and sizes count: their content is
# gigabytes, and an image that is encoded anew hardly ever keeps its size to the byte.
_READ = frozenset({'.csv', '.json', '.tsv', '.txt', '.xml', '.yaml', '.yml'})
_SCENES = ('img_path', 'ann_path')  # of the scenes that a measure merges tiles into
# Where it lies, its name in the folder, its size and time.
_Entry = tuple[str, str, int, int]


def data_digest(*parts: Any) -> str:
    """The SHA-256 of all files that configs of data sets and measures name.

    Annotations count with their content, images with their names and sizes. Where the
    folders lie does not matter.

    Args:
        parts: configs with data sets at any depth, of loaders or evaluators.

    Returns:
        64 hexadecimal digits; '' if nothing of it is here, or none is named.
    """
    paths = dict.fromkeys(path for part in parts for path in _paths(part))
    entries = [tuple(_entries(path)) for path in paths]
    return _digest(tuple(entries)) if any(entries) else ''


@functools.lru_cache(maxsize=16)  # one command asks of the same files several times
def _digest(folders: tuple[tuple[_Entry, ...], ...]) -> str:
    digest = hashlib.sha256()
    for entries in folders:
        digest.update(f'{len(entries)}\n'.encode())
        for path, name, size, _ in entries:
            read = Path(name).suffix.lower() in _READ
            content = sha256_of(path) if read else str(size)
            digest.update(f'{name}\n{content}\n'.encode())
    return digest.hexdigest()


def _paths(part: Any) -> Iterator[Path]:
    """Files and folders that a config names, as its data sets read them."""
    if isinstance(part, (list, tuple)):
        part = dict(enumerate(part))
    if not isinstance(part, dict):
        return
    if 'type' in part and {'data_root', 'data_prefix', 'ann_file'} & set(part):
        yield from _of_data_set(part)
    elif isinstance(part.get('ann_path'), str):
        yield from (Path(part[key]) for key in _SCENES if part.get(key))
    for value in part.values():
        yield from _paths(value)


def _of_data_set(cfg: dict[str, Any]) -> Iterator[Path]:
    root, ann_file = str(cfg.get('data_root') or ''), str(cfg.get('ann_file') or '')
    kind = DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    prefix = cfg.get('data_prefix') or getattr(kind, 'DEFAULT_PREFIX', None) or {}
    names = [name for name in (ann_file, *dict(prefix).values()) if name]
    if not prefix and not ann_file.endswith('.json'):
        names = ['']  # it has a layout of its own below the root
    # The root itself where nothing else is named, but never the working directory.
    yield from (Path(root, name) for name in names if root or name)


def _entries(path: Path) -> Iterator[_Entry]:
    if path.is_file():
        yield _entry(path, path.name)
    for folder, folders, files in os.walk(path):
        folders.sort()
        for file in sorted(files):
            place = Path(folder, file)
            if not file.startswith('.') and place.is_file():
                yield _entry(place, str(place.relative_to(path)))


def _entry(path: Path, name: str) -> _Entry:
    status = path.stat()
    return str(path.absolute()), name, status.st_size, status.st_mtime_ns
