"""A module for ``custom_imports``: one process raises in the middle of a training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

ITERATION = 4


@HOOKS.register_module()
class RaiseOnRank(Hook):
    """Leaves the other process waiting for gradients, or for predictions.

    Args:
        where: name of the method that raises, in process 1.
        marks: folder for the ids of the processes.
    """

    def __init__(self, where: str, marks: str) -> None:
        self.where, self.marks = where, Path(marks)

    def before_train(self, runner: Any) -> None:
        (self.marks / f'pid_{get_rank()}').write_text(str(os.getpid()))

    def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.iter == ITERATION:
            self._raise('before_train_iter')

    def after_val_iter(self, *args: Any, **kwargs: Any) -> None:
        self._raise('after_val_iter')

    def _raise(self, where: str) -> None:
        if where == self.where and get_rank() == 1:
            raise RuntimeError('raised on purpose')
