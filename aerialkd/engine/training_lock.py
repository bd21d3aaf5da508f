"""The lock of a training on the folders that it writes, one for all its processes."""

from __future__ import annotations

import weakref

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.runner import Runner

from aerialkd.engine.last_checkpoint import local_checkpoint_folder
from aerialkd.engine.processes import join_processes
from aerialkd.errors import ConfigError
from aerialkd.locks import FolderLock, Lock


class TrainingLock(Lock):
    """Keeps other trainings out of a work dir, and out of where checkpoints go.

    Of several processes the main one holds it; all have to ask, and learn the same.

    Args:
        cfg: with a work dir.
    """

    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg
        folders = [cfg.work_dir]
        checkpoints = local_checkpoint_folder(cfg)
        if checkpoints is not None:
            folders.append(str(checkpoints))
        self._locks = [FolderLock(folder) for folder in dict.fromkeys(folders)]

    def acquire(self) -> None:
        """Take the lock; without effect if this object has it.

        Raises:
            ConfigError: if another training has it, or a folder cannot be written.
        """
        join_processes(self._cfg)
        refused: list[str] = ['']
        if is_main_process():
            try:
                for lock in self._locks:
                    lock.acquire()
            except ConfigError as error:
                self.release()
                refused = [str(error)]
        broadcast_object_list(refused)
        if refused[0]:
            raise ConfigError(refused[0])

    def release(self) -> None:
        """Give the lock back; without effect if this object does not have it."""
        for lock in self._locks:
            lock.release()

    def hold_while_training(self, runner: Runner) -> None:
        """Hold it until ``runner.train()`` has ended, well or not."""
        train = runner.train

        def train_locked() -> object:
            with self:
                return train()

        vars(runner)['train'] = train_locked
        weakref.finalize(runner, self.release)  # one that never trains
