"""Checkpoints from the network, kept in torch.hub's folder."""

from __future__ import annotations

import json
import logging
import os
import shutil
import urllib.request
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlsplit

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from aerialkd.errors import (
    CheckpointError,
    CheckpointNotFound,
    DownloadError,
    DownloadRefused,
)
from aerialkd.files import sha256_of, whole_file, write_whole

SECONDS = 60
"""How long a silent server is waited for."""


def is_url(name: str) -> bool:
    """Whether a checkpoint is named by an address of the network."""
    return name.startswith(('http://', 'https://'))


def kept_file(
    url: str, folder: str | Path | None = None, name: str | None = None
) -> Path:
    """Where a download is kept.

    Args:
        url: of the file.
        folder: None for torch.hub's.
        name: None for the address's own.

    Raises:
        DownloadError: if the address names no file.
    """
    name = name or PurePosixPath(urlsplit(url).path).name
    if name in ('', '.', '..'):
        raise DownloadError(f'{url}: names no file.')
    return Path(folder or Path(torch.hub.get_dir()) / 'checkpoints') / name


def downloaded(url: str, digest: str, path: Path | None = None) -> Path:
    """The file behind a URL, from the folder of earlier ones or from the network.

    Only the first process of a distributed run downloads; all must come here.

    Args:
        url: http or https.
        digest: the file's SHA-256, hexadecimal, or the start of that; '' if unknown.
            A kept file with another one is replaced, a download with another deleted.
            Where it is unknown, a file that was kept from another address is replaced.
        path: where it is kept; see :func:`kept_file`.

    Raises:
        DownloadError: if it cannot be downloaded.
        CheckpointError: if it is another file.
    """
    path = path or kept_file(url)
    try:
        if is_main_process() and not _is_kept(path, digest, url):
            _download(url, path, digest)
    finally:
        barrier()  # also after an error: the others must not wait for ever
    if not path.is_file():
        raise CheckpointNotFound(
            f'{path}: is not there after the first process downloaded {url}; the '
            'folder must be shared, else download it on every machine.'
        )
    return path


def _is_kept(path: Path, digest: str, url: str) -> bool:
    """Whether a file that is there is the one; without a digest its note tells."""
    if not path.is_file() or digest:
        return path.is_file() and sha256_of(path).startswith(digest)
    try:
        noted = json.loads(_note_of(path).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        print_log(
            f'{path}: nothing notes from where it is; taken for {url}.',
            logger='current',
            level=logging.WARNING,
        )
        return True
    return bool(noted == {'url': url, 'sha256': sha256_of(path)})


def _note_of(path: Path) -> Path:
    return path.with_name(f'.{path.name}.json')


def _download(url: str, path: Path, digest: str) -> None:
    print_log(f'Downloading {url} to {path}', logger='current')
    if not digest:
        print_log(
            f'{url} states no digest: whatever the server sends is read. Add '
            '#sha256= and the 64 digits that sha256sum FILE prints.',
            logger='current',
            level=logging.WARNING,
        )
    try:
        with whole_file(path) as part:
            _fetch(url, part)
            got = sha256_of(part)
            if not got.startswith(digest):
                raise CheckpointError(
                    f'{url}: got a file with SHA-256 {got}, expected {digest}; it was '
                    'deleted unread. Correct the address or the digest.'
                )
        if not digest:  # by which it could be told later
            note = json.dumps({'url': url, 'sha256': got})
            write_whole(_note_of(path), note.encode())
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        message = (
            f'{url}: cannot be downloaded: {error}. Fetch it by hand and put it at '
            f'{path}, or name your copy instead: checkpoint of init_cfg in the config, '
            '--cfg-options model.backbone.init_cfg.checkpoint=FILE (of a distillation: '
            'model.architecture.backbone...)'
        )
        if isinstance(error, HTTPError):
            error.close()
            raise DownloadRefused(message, error) from error
        raise DownloadError(message) from error


def _fetch(url: str, path: Path) -> None:
    request = urllib.request.Request(url, headers={'User-Agent': 'aerialkd'})  # noqa: S310 - is_url
    with (
        urllib.request.urlopen(request, timeout=SECONDS) as answer,  # noqa: S310
        path.open('wb') as file,
    ):
        shutil.copyfileobj(answer, file, 1 << 20)
        announced = answer.headers.get('Content-Length')
    if announced is not None and os.path.getsize(path) != int(announced):
        raise OSError(f'{os.path.getsize(path)} of {announced} bytes arrived')
