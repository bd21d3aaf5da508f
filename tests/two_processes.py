"""Two processes that share a batch: started once, called many times."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from tests.processes import FORKED

WORLD = 2


class Pair:
    """Two connected processes (gloo, CPU) that run what they are told.

    A function that raises in one of them leaves the other waiting: both are ended, and
    the next call starts new ones.

    Args:
        folder: where the processes find each other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []
        self._starts = 0

    def run(
        self, function: Callable[..., Any], *arguments: Any, timeout: float = 120
    ) -> list[Any]:
        """Call ``function(rank, *arguments)`` in both and return both results.

        Raises:
            RuntimeError: with the traceback of the first that failed, or if one has not
                answered in time.
        """
        if not self._processes:
            self._start()
        for pipe in self._pipes:
            pipe.send((function, arguments))
        results: dict[int, Any] = {}
        end = time.monotonic() + timeout
        try:
            while len(results) < WORLD:
                waiting = [p for i, p in enumerate(self._pipes) if i not in results]
                ready = wait(waiting, max(end - time.monotonic(), 0))
                if not ready:
                    names = [i for i in range(WORLD) if i not in results]
                    raise RuntimeError(f'no answer of {names} within {timeout} s')
                for pipe in ready:
                    rank = self._pipes.index(pipe)  # type: ignore[arg-type]
                    failure, results[rank] = self._pipes[rank].recv()
                    if failure:
                        raise RuntimeError(f'process {rank}: {failure}')
        except (RuntimeError, EOFError):
            self.close()
            raise
        return [results[rank] for rank in range(WORLD)]

    def close(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.kill()
            process.join()
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []

    def _start(self) -> None:
        self._starts += 1
        meet = self._folder / f'meet_{self._starts}'
        for rank in range(WORLD):
            ours, theirs = FORKED.Pipe()
            process = FORKED.Process(
                target=_serve, args=(rank, str(meet), theirs), daemon=True
            )
            process.start()
            theirs.close()  # so that its end is noticed here
            self._processes.append(process)
            self._pipes.append(ours)


def connect(rank: int, meet: str, timeout: float = 100) -> None:
    """Join the other process at the file ``meet``; give up when one waits too long."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{meet}',
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=timeout),
    )


def _serve(rank: int, meet: str, pipe: Connection) -> None:
    connect(rank, meet)
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((None, function(rank, *arguments)))
        except Exception:
            pipe.send((traceback.format_exc(), None))
