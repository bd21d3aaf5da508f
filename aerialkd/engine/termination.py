"""Signals that ask a process to end: Ctrl-C, a closed terminal, a cluster's SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, NoReturn

# Windows has no SIGHUP.
SIGNALS = tuple(
    signal.Signals[name]
    for name in ('SIGINT', 'SIGHUP', 'SIGTERM')
    if hasattr(signal, name)
)
HANDED_ON = 'AERIALKD_SIGNALS_HANDED_ON'
"""Environment variable of a tool whose parent sends it on what it was sent."""
# Seconds in which a signal that comes again is the same one: a launcher hands on what
# was sent to all, timeout(1) signals a process and then its group.
_REPEATED, _REPEATED_CTRL_C, _HANDED_ON_CTRL_C = 5.0, 0.3, 1.0


def exit_status(number: int) -> int:
    """The status with which a shell reports a process that a signal has ended."""
    return 128 + number


class EndedBySignal(SystemExit):
    """A signal that ends a tool where it is.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(exit_status(number))
        self.name = signal.Signals(number).name


class Termination:
    """Notes that the process shall end, so that it can do so after its step.

    Signals that were ignored before (``nohup``, a job in the background) still are. A
    second Ctrl-C ends the process at once, any other second signal after some seconds:
    nobody reads the note any more, the training failed or hangs.

    Args:
        first: called with the number of the first signal.
        again: called with that of a second one.

    Attributes:
        number: of the signal that came first; 0 while there was none.
    """

    def __init__(
        self,
        first: Callable[[int], object] | None = None,
        again: Callable[[int], object] | None = None,
    ) -> None:
        self.number = 0
        self._first, self._again = first, again or _end_at_once
        self._since = 0.0
        self._process = os.getpid()
        self._reader: CodeType | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def listen(self, reader: Callable[..., Any] | None = None) -> None:
        """Note signals from now on; without effect outside the main thread.

        Args:
            reader: the function that reads the note. Once it has been left, also by an
                exception, signals are no longer noted.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        self._process = os.getpid()
        self._reader = getattr(reader, '__code__', None)
        for number in SIGNALS:
            # None: the handler is not one of Python's, and could not be given back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._note)

    def stop_listening(self) -> None:
        """Leave the signals to whom they belonged before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked one, which its parent ends
            if number == signal.SIGTERM:
                _die(number)
        elif self._reader is not None and not _is_running(self._reader, frame):
            self.stop_listening()
            os.kill(os.getpid(), number)
        elif not self.number:
            self.number, self._since = number, time.monotonic()
            if self._first is not None:
                self._first(number)
        elif time.monotonic() - self._since > _same_within(number):
            self._again(number)


@contextlib.contextmanager
def ending_by_signals() -> Iterator[None]:
    """Let a signal end the block with :class:`EndedBySignal`, which cleans up."""
    ending = Termination(_leave)
    ending.listen()
    try:
        yield
    finally:
        ending.stop_listening()


def outlive_termination() -> None:
    """Let a loader's worker end when its process says so, not when all are signalled.

    A pre-emption or Ctrl-C signals the whole group: without its workers the process
    could not end the step that it is in. Where the sender of a SIGTERM cannot be told,
    nothing changes.
    """
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while True:
        info = signal.sigwaitinfo({signal.SIGTERM})
        if info.si_pid == os.getppid():
            os._exit(0)


def _is_running(code: CodeType, frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def _same_within(number: int) -> float:
    if number != signal.SIGINT:
        return _REPEATED
    handed_on = {HANDED_ON, 'TORCHELASTIC_RUN_ID'} & set(os.environ)
    return _HANDED_ON_CTRL_C if handed_on else _REPEATED_CTRL_C


def _leave(number: int) -> NoReturn:
    raise EndedBySignal(number)


def _end_at_once(number: int) -> None:
    if number == signal.SIGINT:
        os._exit(exit_status(number))  # dying of it would leave a shell's script alone
    _die(number)


def _die(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
