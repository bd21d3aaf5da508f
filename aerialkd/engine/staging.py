"""Writing several files so that either all of them appear, whole, or none."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from aerialkd.errors import ConfigError
from aerialkd.files import flush


@contextlib.contextmanager
def staging(targets: Sequence[Path], force: bool = False) -> Iterator[Path]:
    """A temporary folder whose files become the targets when the block ends well.

    The folder lies beside the targets, on the same file system: taking a target's place
    is then a rename, which a reader sees done or not done. After an exception inside
    the block nothing is left behind.

    Args:
        targets: files of one folder, which is created; the block writes each under
            its name into the temporary folder.
        force: replace targets that exist.

    Raises:
        ConfigError: if a target exists, or the folder cannot be written.

    Example:
        >>> with staging([Path('out/a.txt')]) as folder:
        ...     (folder / 'a.txt').write_text('a')
    """
    refuse_existing(targets, force)
    parent = targets[0].parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=parent, prefix='.export-')
    except OSError as error:
        raise ConfigError(f'{parent}: cannot be written: {error}') from error
    with temporary as name:
        folder = Path(name)
        yield folder
        refuse_existing(targets, force)  # made by another process meanwhile
        for target in targets:
            flush(folder / target.name)
        _take_places(folder, targets)
        flush(parent)


def refuse_existing(targets: Sequence[Path], force: bool) -> None:
    """Stop before somebody's file is overwritten.

    Raises:
        ConfigError: if a target exists and ``force`` is not set.
    """
    existing = [str(target) for target in targets if target.exists()]
    if existing and not force:
        raise ConfigError(
            f'{", ".join(existing)}: exists already. Choose another name, or replace '
            'it with --force (force=True).'
        )


def _take_places(folder: Path, targets: Sequence[Path]) -> None:
    placed: list[Path] = []
    try:
        for target in targets:
            os.replace(folder / target.name, target)
            placed.append(target)
    except OSError as error:
        for target in placed:  # half an export would look like a whole one
            target.unlink(missing_ok=True)
        raise ConfigError(f'{error.filename2}: cannot be written: {error}') from error
