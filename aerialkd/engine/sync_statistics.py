"""Batch statistics of several processes become one before they are used."""

from __future__ import annotations

from mmengine.dist import all_reduce_params
from mmengine.hooks import EMAHook, SyncBuffersHook
from mmengine.runner import Runner

from aerialkd.registry import HOOKS


@HOOKS.register_module()
class SyncStatisticsHook(SyncBuffersHook):
    """Average running means and variances over the processes after each epoch.

    Each process collects those of its own images, but the first alone writes the
    checkpoint: without this, what the others validate is another model than the saved
    one. Those of averaged weights (``EMAHook``) are averaged, too, which mmengine's
    ``SyncBuffersHook`` leaves out. One process has nothing to average.
    """

    def after_train_epoch(self, runner: Runner) -> None:
        """Average, before the checkpoint is written."""
        super().after_train_epoch(runner)
        if not self.distributed:
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                all_reduce_params(hook.ema_model.module.buffers(), op='mean')
