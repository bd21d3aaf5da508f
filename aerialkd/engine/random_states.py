"""Random numbers of a training: of its process and of the loaders' workers.

MMEngine seeds each worker when it starts. Persistent workers then draw on over the
epochs, so that a resumed training would augment images in another way. Here each batch
carries the state of its worker along, and resumed workers start from these states.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info

from aerialkd.engine.termination import outlive_termination

State = dict[str, Any]
_KEY = 'aerialkd_random_state'


def worker_state() -> State:
    """State of the generators of Python, NumPy and torch on the CPU."""
    return {
        'python': random.getstate(),
        'numpy': np.random.get_state(),  # noqa: NPY002 - mmdet's transforms use it
        'torch': torch.get_rng_state(),
    }


def process_state() -> State:
    """:func:`worker_state` and those of the GPUs, which no worker may touch."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {**worker_state(), 'cuda': cuda}


def set_random_state(state: State) -> None:
    """Restore what :func:`worker_state` or :func:`process_state` returned."""
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])  # noqa: NPY002
    torch.set_rng_state(state['torch'].cpu())  # loaded onto a GPU
    cuda = [one.cpu() for one in state.get('cuda', [])]
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)


class CarryState:
    """A collate function whose batches carry their worker's random state.

    Args:
        collate: the loader's own.
    """

    def __init__(self, collate: Callable[[Sequence[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[Any]) -> Any:
        """A batch of samples."""
        batch = self.collate(samples)
        if isinstance(batch, dict) and get_worker_info() is not None:
            state = worker_state()
            # As bytes: a tensor would travel through shared memory, one file each.
            batch[_KEY] = {**state, 'torch': state['torch'].numpy().tobytes()}
        return batch


def take_state(batch: Any) -> State | None:
    """Take the worker's state out of a batch, before a model sees it."""
    state: State | None = batch.pop(_KEY, None) if isinstance(batch, dict) else None
    if state is not None:
        state['torch'] = torch.frombuffer(bytearray(state['torch']), dtype=torch.uint8)
    return state


class StartWorker:
    """What a worker does first: seed itself, or go on where another one stopped.

    Args:
        start: the loader's own ``worker_init_fn``.

    Attributes:
        states: of the workers of the epoch that goes on, none at all in a new one.
        turn: which of them the first worker stands in for.
    """

    def __init__(self, start: Callable[[int], None] | None) -> None:
        self.start = start
        self.states: Sequence[State | None] = ()
        self.turn = 0

    @classmethod
    def of(cls, loader: DataLoader, seed: int) -> StartWorker:
        """Put one into a loader.

        The loader gets a generator of its own: it would draw from the process's when
        it starts workers, which happens more often if a training is interrupted.
        """
        loader.generator = torch.Generator().manual_seed(seed)
        if not isinstance(loader.worker_init_fn, cls):
            loader.worker_init_fn = cls(loader.worker_init_fn)
        start: StartWorker = loader.worker_init_fn
        return start

    def reseed(self, seed: int) -> None:
        """Replace the seed that MMEngine gave when it built the loader."""
        if isinstance(self.start, partial) and 'seed' in self.start.keywords:
            self.start = partial(self.start, seed=seed)

    def __call__(self, worker: int) -> None:
        """Prepare a worker; called in it."""
        outlive_termination()
        if self.states:
            worker = (worker + self.turn) % len(self.states)
        if self.start is not None:
            self.start(worker)
        state = self.states[worker] if self.states else None
        if state is not None:  # None: it has not had its first turn
            set_random_state(state)
