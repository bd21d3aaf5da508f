"""How a checkpoint is named, ``FILE#sha256=DIGEST`` or a URL, and how it is found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aerialkd.errors import CheckpointError, CheckpointNotFound
from aerialkd.files import sha256_of_opened
from aerialkd.loading.download import downloaded, is_url

DIGEST = '#sha256='
# The convention of torch.hub: a file's name ends with the start of its digest.
_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.\w+$')


@dataclass(frozen=True)
class CheckpointFile:
    """A file on this machine, and what is known of its content.

    Attributes:
        path: the file.
        digest: its SHA-256 or the start of that, hexadecimal; '' where not stated.
    """

    path: Path
    digest: str

    def check(self, opened: BinaryIO) -> None:
        """Compare the content with the digest, before anybody parses it.

        The file is left at its end.

        Raises:
            CheckpointError: if they differ.
        """
        if not self.digest:
            return
        got = sha256_of_opened(opened)
        if not got.startswith(self.digest):
            raise CheckpointError(
                f'{self.path}: got a file with SHA-256 {got}, expected {self.digest}; '
                'it was not read. Get the right file, or correct the digest if this '
                'is the one you want.'
            )


def find(
    name: str | Path, pinned: bool = True, kept: Path | None = None
) -> CheckpointFile:
    """Find the file, downloading what is named by a URL.

    Args:
        name: path or URL; with ``#sha256=`` and 64 hexadecimal digits behind it, the
            content must have this digest.
        pinned: whether a URL needs a digest. If not, the start of a digest in the name
            (``resnet50-0676ba61.pth``) is checked instead.
        kept: where a download is kept; None for torch.hub's folder.

    Raises:
        CheckpointNotFound: if there is no such file.
        CheckpointError: if it cannot be downloaded, or its digest is missing or none.
    """
    plain, digest = split_digest(name)
    if is_url(plain):
        if pinned and not digest:
            raise CheckpointError(
                f'{plain}: a checkpoint from the network needs its digest, which is '
                f'checked before it is read: name it {plain}{DIGEST}DIGEST, with the '
                '64 digits that sha256sum FILE prints for a copy that you trust.'
            )
        in_name = _IN_NAME.search(plain)
        digest = digest or (in_name.group(1) if in_name else '')
        return CheckpointFile(downloaded(plain, digest, kept), digest)
    if '://' in plain:
        raise CheckpointNotFound(
            f'{plain}: got a location that is not read, expected a file, or an http or '
            'https address (init_cfg and load_from take names of torchvision://, '
            'open-mmlab:// and mmcls:// too); download it first.'
        )
    path = Path(plain).expanduser()
    if not path.is_file():
        raise CheckpointNotFound(f'{path}: no such checkpoint file.')
    return CheckpointFile(path, digest)


def file_of(name: str | Path) -> Path:
    """The path in a checkpoint's name, without its digest."""
    return Path(split_digest(name)[0]).expanduser()


def split_digest(name: str | Path) -> tuple[str, str]:
    """Split ``FILE#sha256=DIGEST``; the digest is '' where none is stated.

    Other ``#`` belong to the file's name.

    Raises:
        CheckpointError: if the digest is none.
    """
    plain, mark, digest = str(name).rpartition(DIGEST)
    if not mark:
        return str(name), ''
    if not re.fullmatch('[0-9a-fA-F]{64}', digest):
        raise CheckpointError(
            f'{name}: got {digest!r} behind {DIGEST}, expected 64 hexadecimal digits; '
            f'sha256sum {plain} prints them.'
        )
    return plain, digest.lower()
