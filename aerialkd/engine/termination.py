"""SIGTERM, with which clusters announce that they take a machine back."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

EXIT_STATUS = 128 + signal.SIGTERM  # as a shell reports a terminated command
_REPEATED = 5.0  # seconds in which a launcher may hand on what was sent to all


class Termination:
    """Notes that the process shall end, so that it can do so after its step.

    Attributes:
        requested: whether SIGTERM has come.
    """

    def __init__(self) -> None:
        self.requested = False
        self._since = 0.0
        self._before: Any = None

    def listen(self) -> None:
        """Note SIGTERM from now on; without effect outside the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)

    def stop_listening(self) -> None:
        """Leave SIGTERM to whom it belonged before."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _note(self, *_: Any) -> None:
        if not self.requested:
            self.requested, self._since = True, time.monotonic()
        elif time.monotonic() - self._since > _REPEATED:
            # Nobody reads the note any more: the training failed, or hangs.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)


def outlive_termination() -> None:
    """Let a loader's worker end when its process says so, not when all are signalled.

    A pre-emption signals the whole group: without its workers the process could not
    end the step that it is in. Where the sender cannot be told, nothing changes.
    """
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while True:
        info = signal.sigwaitinfo({signal.SIGTERM})
        if info.si_pid == os.getppid():
            os._exit(0)
