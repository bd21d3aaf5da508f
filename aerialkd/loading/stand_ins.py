"""What a checkpoint of MMEngine names beyond tensors, and what is called instead.

A pickle calls functions by name. None of NumPy's or MMEngine's own is called here:
NumPy's trust their arguments (a ``dtype`` whose state lies makes bytes into pointers),
and ``HistoryBuffer`` registers whatever its state brings along. The stand-ins accept
exactly what those write, and :func:`aerialkd.loading.plain_data.settle` puts the real
objects in their place.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# As a pickle writes them: 'f8', 'u1', 'b1', ...
KINDS = frozenset(np.dtype(code).str[1:] for code in '?bhilqBHILQefdFD')
STATISTICS = frozenset(('min', 'max', 'mean', 'current'))
ANNEALINGS = frozenset(('_annealing_cos', '_annealing_linear'))

_lock = threading.RLock()


class Method:
    """Stands for a statistic's method of ``HistoryBuffer``, which is not needed."""


class OneCycle:
    """Stands for ``OneCycleParamScheduler``, whose state names one of its functions."""


class Annealing:
    """Stands for that function: a state does without, the schedule has its own."""


class DType:
    """Stands for ``numpy.dtype``: numbers and truth values alone."""

    def __init__(self, kind: str, align: bool = False, copy: bool = False) -> None:
        if kind not in KINDS:
            raise UnpicklingError(f'GLOBAL numpy.dtype({kind!r:.40})')
        self.value: np.dtype = np.dtype(kind)

    def __setstate__(self, state: Any) -> None:
        # Version and byte order; what follows describes other kinds than ours.
        _, order, *parts = state
        if order not in ('<', '>', '|', '=') or parts[:3] != [None, None, None]:
            raise UnpicklingError('a numpy.dtype of another kind than numbers')
        self.value = self.value.newbyteorder(order)


class Array:
    """Stands for ``numpy.ndarray``."""

    value: np.ndarray

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        sides = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
        if not sides or type(dtype) is not DType or type(data) is not bytes:
            raise UnpicklingError('a numpy.ndarray of something else than numbers')
        order: Literal['F', 'C'] = 'F' if fortran is True else 'C'
        view: np.ndarray = np.ndarray(shape, dtype.value, data, order=order)
        if view.nbytes != len(data):
            raise UnpicklingError(
                f'a numpy.ndarray of {view.nbytes} bytes, given {len(data)}'
            )
        self.value = view.copy(order)


class History:
    """Stands for ``HistoryBuffer``: two rows of numbers and a length."""

    value: HistoryBuffer

    def __setstate__(self, state: Any) -> None:
        rows = (state['_log_history'].value, state['_count_history'].value)
        length = state['max_length']
        if (
            any(row.ndim != 1 or len(row) != len(rows[0]) for row in rows)
            or type(length) is not int
        ):
            raise UnpicklingError('a HistoryBuffer of something else than two rows')
        self.value = HistoryBuffer(max_length=length)
        self.value._log_history, self.value._count_history = rows


def scalar(dtype: DType, data: bytes) -> Any:
    """Stands for NumPy's function of this name."""
    if type(dtype) is not DType or type(data) is not bytes:
        raise UnpicklingError('a NumPy scalar of something else than a number')
    (value,) = np.frombuffer(data, dtype.value)
    return value


def reconstruct(kind: type, shape: Any, code: Any) -> Array:
    """Stands for NumPy's function of this name; BUILD brings the content."""
    if kind is not Array:
        raise UnpicklingError('a numpy.ndarray of another class')
    return Array()


def method(owner: type, name: str) -> Method | Annealing:
    """Stands for ``getattr``, with which a state names methods of its class."""
    if owner is OneCycle and name in ANNEALINGS:
        return Annealing()
    if owner is not History or name not in STATISTICS:
        raise UnpicklingError(f'GLOBAL getattr(...,{name!r:.40})')
    return Method()


def no_bytes(*args: Any) -> bytes:
    """Stands for ``bytes``, with which an older protocol writes that there are none."""
    if args:
        raise UnpicklingError('GLOBAL bytes(...)')
    return b''


ALLOWED: tuple[tuple[Any, str], ...] = (
    (History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (OneCycle, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'),
    (method, 'builtins.getattr'),
    (no_bytes, 'builtins.bytes'),
    (Array, 'numpy.ndarray'),
    (DType, 'numpy.dtype'),
    # NumPy 2 and NumPy 1, whichever wrote the file.
    (reconstruct, 'numpy._core.multiarray._reconstruct'),
    (reconstruct, 'numpy.core.multiarray._reconstruct'),
    (scalar, 'numpy._core.multiarray.scalar'),
    (scalar, 'numpy.core.multiarray.scalar'),
)


@contextlib.contextmanager
def nothing_else_allowed() -> Iterator[None]:
    """Let torch's unpickler accept what it does by itself, and :data:`ALLOWED`.

    What other code in this process allowed does not count meanwhile.
    """
    with _lock:
        before = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(list(ALLOWED))
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)
