"""Files that are whole or not there, and what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_whole(path: str | Path, content: bytes, durable: bool = True) -> None:
    """Write a file so that it is whole or not there; see :func:`whole_file`."""
    with whole_file(path, durable) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def whole_file(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """A name to write a file under, which takes its place when the block ends well.

    A file that was there before stays, whole, until then; after an exception for good.

    Args:
        path: the file; its folder is made.
        durable: wait until it is on the disk, so that it also survives a power cut.

    Raises:
        OSError: if it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    try:
        yield part
        if durable:
            flush(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        flush(path.parent)


def flush(path: str | Path) -> None:
    """Wait until a file's or folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file's content, 64 hexadecimal digits."""
    with Path(path).open('rb') as file:
        return sha256_of_opened(file)


def sha256_of_opened(file: BinaryIO) -> str:
    """The SHA-256 of what an open file has from here on."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
