"""Folders of made files: each file whole or absent, and a manifest of what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aerialkd.errors import ConfigError
from aerialkd.files import write_whole
from aerialkd.locks import LOCK, FolderLock


def is_complete(manifest: Path, made: dict[str, Any]) -> bool:
    """Whether the folder of a manifest holds all of what is asked for.

    Args:
        manifest: the file, which need not exist in a folder that is empty or new.
        made: what decides the files, of types that JSON can hold.

    Raises:
        ConfigError: if the folder holds something else.
    """
    found = read_manifest(manifest)
    if found is None:
        return False
    complete = found.pop('complete')
    made = json.loads(json.dumps(made))  # tuples are lists there
    if found != made:
        ours, theirs = _differences(made, found), _differences(found, made)
        raise ConfigError(
            f'{manifest.parent}: got images of {theirs}, expected {ours}; '
            f'{_remedy(manifest)}.'
        )
    return bool(complete)


def read_manifest(manifest: Path) -> dict[str, Any] | None:
    """The content of a manifest; None if its folder is empty or does not exist.

    Raises:
        ConfigError: if the folder holds something else.
    """
    out = manifest.parent
    if not manifest.is_file():
        if out.is_file() or (
            out.is_dir() and any(f.name != LOCK for f in out.iterdir())
        ):
            raise ConfigError(
                f'{out}: got something that was not made here, expected an empty '
                f'folder or none; {_remedy(manifest)}.'
            )
        return None
    try:
        content = json.loads(manifest.read_text())
        if not isinstance(content['complete'], bool):
            raise TypeError('complete is neither true nor false')
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f'{manifest}: not a manifest ({error}); {_remedy(manifest)}.'
        ) from error
    return dict(content)


def writing(manifest: Path) -> FolderLock:
    """A lock on the folder of a manifest, for whoever writes its files."""
    return FolderLock(manifest.parent, 'written', 'choose another --out')


def write_manifest(manifest: Path, made: dict[str, Any], complete: bool) -> None:
    """Write what the folder's files are made from, and whether all are there."""
    content = json.dumps({**made, 'complete': complete}, indent=2) + '\n'
    write_whole(manifest, content.encode())


def _remedy(manifest: Path) -> str:
    out = manifest.parent
    return f'choose another --out, or remove the folder first: rm -r {out}'


def _differences(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    absent = object()
    return {k: v for k, v in mine.items() if other.get(k, absent) != v}
