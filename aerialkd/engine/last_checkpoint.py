"""What a work dir's ``last_checkpoint`` says, and which checkpoint to go on from.

The first line is MMEngine's, the path of the newest checkpoint. Below stand the digests
of the checkpoints that are kept, newest first, as ``sha256sum -c`` reads them. A new
checkpoint is announced here before it takes its place, so that at any moment some line
fits a file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log

from aerialkd.errors import CheckpointError, ConfigError
from aerialkd.files import sha256_of, write_whole
from aerialkd.loading import read_checkpoint
from aerialkd.loading.checkpoint_file import split_digest
from aerialkd.loading.finite import check_optimizer_finite

LAST = 'last_checkpoint'
# What a training leaves to go on from; others (exports, best ones) may lie beside.
_OF_TRAINING = re.compile(r'(?:epoch|iter)_\d+|interrupted')
_LEFT_BEHIND = re.compile(rf'{_OF_TRAINING.pattern}|best_.+')
_LINE = re.compile(r'([0-9a-f]{64})  (\S.*)')


class Kept(NamedTuple):
    """A checkpoint and the SHA-256 of its content."""

    name: str
    digest: str


def read_kept(folder: str | Path) -> list[Kept]:
    """What ``last_checkpoint`` lists, newest first; nothing if it is unreadable."""
    found = (_LINE.fullmatch(line) for line in _lines(Path(folder))[1:])
    return [Kept(match[2], match[1]) for match in found if match]


def write_kept(folder: str | Path, kept: Sequence[Kept]) -> None:
    """Write ``last_checkpoint``.

    Args:
        folder: the work dir.
        kept: newest first, at least one; files of the folder.
    """
    folder = Path(folder)
    lines = [str(folder / kept[0].name), *(f'{k.digest}  {k.name}' for k in kept)]
    write_whole(folder / LAST, ('\n'.join(lines) + '\n').encode())


def checkpoint_folder(work_dir: str | Path, out_dir: str | None) -> Path | None:
    """Where a training keeps its checkpoints; None if that is not a local folder.

    Args:
        work_dir: of the training.
        out_dir: as the hook is given it; each work dir has a folder of its own there.
    """
    if '://' in str(out_dir):
        return None
    elsewhere = out_dir is not None and str(out_dir) != str(work_dir)
    return Path(str(out_dir)) / Path(work_dir).name if elsewhere else Path(work_dir)


def local_checkpoint_folder(cfg: Config) -> Path | None:
    """Where a config's training keeps its checkpoints; None if MMEngine writes them."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('backend_args'):
        return None
    return checkpoint_folder(cfg.work_dir, hook.get('out_dir'))


def find_resumable(folder: str | Path) -> Path | None:
    """The newest whole checkpoint of a work dir; None if there never was one.

    First those that ``last_checkpoint`` lists, if their content is what it was; then,
    where it is absent, empty or points nowhere, the folder's files, newest first.

    Raises:
        CheckpointError: if there are checkpoints, but none from which to go on.
    """
    folder = Path(folder)
    problems: list[str] = []
    listed = listed_files(folder)
    for file, digests in _candidates(folder, listed).items():
        problem = _problem_of(file, digests)
        if problem is None:
            if problems:
                _warn(f'Going on from {file}, because of: {" ".join(problems)}')
            return file
        if file in listed or _OF_TRAINING.fullmatch(file.stem):
            problems.append(problem)
    if not problems:
        if (folder / LAST).is_file():
            _warn(f'{folder / LAST} names no checkpoint that is there: starting anew.')
        return None
    raise CheckpointError(
        f'{folder}: got no checkpoint from which training can go on: '
        f'{" ".join(problems)} Name one with --resume FILE, '
        'restore one, or move them away to start anew.'
    )


def check_free(folder: str | Path, way_out: str) -> None:
    """Make sure that a new training writes over none of an earlier one.

    Args:
        folder: where its checkpoints are going to be.
        way_out: what to do with those that are there, a sentence.

    Raises:
        ConfigError: if there are checkpoints of a training, best ones too.
    """
    folder = Path(folder)
    left = [f for f in folder.glob('*.pth') if _LEFT_BEHIND.fullmatch(f.stem)]
    left += [file for file in listed_files(folder) if file.parent == folder]
    names = sorted({file.name for file in left})
    if names:
        some = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
        raise ConfigError(
            f'{folder}: holds checkpoints of a training ({some}), which a new one '
            f'would write over. {way_out}, choose another --work-dir, or remove them.'
        )


def check_resumable(content: dict[str, Any], file: str | Path) -> None:
    """Make sure that a checkpoint is one of a training.

    Raises:
        CheckpointError: if it holds weights alone, or averages of the optimizer that
            are not finite.
    """
    meta = content.get('meta')
    has_progress = isinstance(meta, dict) and {'epoch', 'iter'} <= set(meta)
    if not has_progress or not {'optimizer', 'message_hub'} <= set(content):
        raise CheckpointError(
            f'{file}: holds weights, but no state of a training; name it with '
            '--cfg-options load_from=... to start from its weights.'
        )
    check_optimizer_finite(content['optimizer'], str(file))


def listed_files(folder: str | Path) -> dict[Path, list[str]]:
    """Files that ``last_checkpoint`` lists and that are there, newest first.

    Returns:
        The digests that each may have: two while it is being replaced, none where
        MMEngine, or somebody by hand, named a file without.
    """
    folder, lines, kept = Path(folder), _lines(Path(folder)), read_kept(folder)
    files: dict[Path, list[str]] = {}
    for name, digest in kept:
        files.setdefault(folder / name, []).append(digest)
    if lines and not kept:
        name, digest = _named(lines[0])
        # The folder may have been moved since: the file beside comes first.
        here = folder / Path(name).name
        files[here if here.is_file() else Path(name)] = [digest] if digest else []
    return {file: digests for file, digests in files.items() if file.is_file()}


def _candidates(folder: Path, listed: dict[Path, list[str]]) -> dict[Path, list[str]]:
    """Files that may be resumable, best first, with the digests that they may have."""
    others = [file for file in folder.glob('*.pth') if file not in listed]
    others.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
    return {**listed, **{file: [] for file in others}}


def _problem_of(file: Path, digests: Sequence[str]) -> str | None:
    if digests and sha256_of(file) not in digests:
        return f'{file}: is not the file that was written, its SHA-256 is another.'
    try:
        check_resumable(read_checkpoint(file), file)
    except CheckpointError as error:
        return str(error)
    return None


def _lines(folder: Path) -> list[str]:
    try:
        text = (folder / LAST).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError):
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _named(line: str) -> tuple[str, str]:
    try:
        return split_digest(line)
    except CheckpointError:  # garbage
        return line, ''


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
