"""The explicit opt-in to checkpoints that can run code: off unless switched on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

FLAG = '--trust-checkpoint'

_trusted = False


@contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Unpickle in full, within the block, checkpoints that are refused otherwise.

    A file read in full can run any code. Each one is named in a warning. What can be
    read without that still is; the config text in a checkpoint is never executed.

    Args:
        trust: whether to; False switches it off within the block.
    """
    before = is_trusting()
    set_trust(trust)
    try:
        yield
    finally:
        set_trust(before)


def set_trust(trust: bool) -> None:
    """Switch the opt-in for the whole process; the command-line flag's effect."""
    global _trusted
    _trusted = trust


def is_trusting() -> bool:
    """Whether refused checkpoints are unpickled in full."""
    return _trusted
