"""Locks of the operating system on folders that one process at a time may write."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from datetime import datetime
from pathlib import Path
from types import TracebackType

from mmengine.logging import print_log

from aerialkd.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = '.training.lock'
_Key = tuple[int, int]
# Descriptors of this process by the file's device and number, and how often each is
# held. Other names of a folder lead to the same file.
_held: dict[_Key, tuple[int, int]] = {}


def _forget() -> None:
    """Leave the locks to the process that was forked from.

    A loader's worker may outlive a process that was killed.
    """
    for descriptor, _ in _held.values():
        os.close(descriptor)
    _held.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)


class Lock:
    """What can be held for the length of a block."""

    def acquire(self) -> None:
        """Take it."""
        raise NotImplementedError

    def release(self) -> None:
        """Give it back."""
        raise NotImplementedError

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class FolderLock(Lock):
    """Keeps other processes from writing a folder, for as long as this one lives.

    The lock ends with the process, however that ends: the file that stays behind says
    nothing. A process may take a lock again that it holds, and has to release it as
    often.

    Args:
        folder: made if it is not there.
        doing: what others are told of whoever holds the lock.
        way_out: what else they can do than to wait.

    Example:
        >>> with FolderLock('work_dirs/student'):
        ...     runner.train()
    """

    def __init__(
        self,
        folder: str | Path,
        doing: str = 'trained',
        way_out: str = 'choose another --work-dir',
    ) -> None:
        self.folder = Path(folder)
        self._doing, self._way_out = doing, way_out
        self._key: _Key | None = None

    def acquire(self) -> None:
        """Take the lock; without effect if this object has it.

        Raises:
            ConfigError: if another process holds it, or the folder cannot be written.
        """
        if self._key is not None:
            return
        descriptor = self._open()
        status = os.fstat(descriptor)
        key = status.st_dev, status.st_ino
        if key in _held:
            os.close(descriptor)
            descriptor = _held[key][0]
        elif not self._lock(descriptor):
            holder = _holder(descriptor)
            os.close(descriptor)
            raise ConfigError(
                f'{self.folder}: is being {self._doing} by {holder}. Two at once would '
                f'write over the files of each other: wait for it, end it, or '
                f'{self._way_out}.'
            )
        _held[key] = descriptor, _held.get(key, (0, 0))[1] + 1
        self._key = key

    def release(self) -> None:
        """Give the lock back; without effect if this object does not have it."""
        held = _held.get(self._key) if self._key else None  # None: in a forked process
        if self._key is not None and held is not None:
            descriptor, times = held
            if times > 1:
                _held[self._key] = descriptor, times - 1
            else:
                os.ftruncate(descriptor, 0)
                os.close(descriptor)
                del _held[self._key]
        self._key = None

    def _open(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise ConfigError(
                f'{self.folder}: cannot be written: {error.strerror}, '
                f'{error.filename}; make it writable, or {self._way_out}.'
            ) from error

    def _lock(self, descriptor: int) -> bool:
        """Lock a file, and write into it who holds it; whether nobody else does."""
        try:
            if fcntl is None:
                raise OSError('this system has no fcntl')
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # some network file systems have no locks
            print_log(
                f'{self.folder}: cannot be locked: {error}. Nothing keeps a second '
                'process from writing it at the same time; see to that yourself.',
                logger='current',
                level=logging.WARNING,
            )
            return True
        now = f'{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}'
        who = dict(pid=os.getpid(), host=socket.gethostname(), since=now)
        with contextlib.suppress(OSError):  # a full disk: others are told less
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(who).encode(), 0)
        return True


def _holder(descriptor: int) -> str:
    try:
        who = json.loads(os.pread(descriptor, 4096, 0))
        return f'process {who["pid"]} on {who["host"]}, since {who["since"]}'
    except (OSError, ValueError, KeyError, TypeError):  # it has not written yet
        return 'another process'
