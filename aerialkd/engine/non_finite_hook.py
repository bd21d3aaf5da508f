"""Losses that are infinite or no numbers: named, left out, and soon an end."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

from aerialkd.arguments import Count
from aerialkd.engine.distributed import on_any_rank, plain_model
from aerialkd.errors import NonFiniteError
from aerialkd.registry import HOOKS

_SHOWN = 8  # images


class _StepLeftOut(Exception):
    """Ends a step between its losses and its gradients."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Leave out steps whose loss is not finite, and stop when they come in a row.

    The losses are looked at before gradients are computed, so that neither parameters
    nor the optimizer's averages see such a step; running statistics of batch norms are
    what they were before it. The message names the losses, the images and the last good
    checkpoint. An epoch, or a training counted in iterations, in which every step was
    left out is an error too. With several processes, all leave out the step of which
    one has such a loss.

    Args:
        max_in_a_row: as many of such steps in a row stop the training.

    Raises:
        ConfigError: if ``max_in_a_row`` is below 1.
        NonFiniteError: when the training is stopped.
    """

    def __init__(self, max_in_a_row: Count = 3) -> None:
        self.max_in_a_row = max_in_a_row
        self._in_a_row = 0
        self._stepped = False
        self._runner: Runner | None = None
        self._losses: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Come between the losses of a step and their gradients."""
        if self._runner is runner:  # trained before
            return
        self._runner = runner
        model: Any = plain_model(runner)
        parse, step = model.parse_losses, runner.model.train_step
        buffers = list(model.buffers())
        before = [buffer.clone() for buffer in buffers]

        def parse_losses(losses: dict) -> tuple[Tensor, Mapping[str, Tensor]]:
            total, logged = parse(losses)
            self._check(total, logged)
            return total, logged

        def train_step(data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
            if buffers:
                torch._foreach_copy_(before, buffers)
            try:
                logged: dict[str, Tensor] = step(data, optim_wrapper=optim_wrapper)
            except _StepLeftOut:
                if buffers:
                    torch._foreach_copy_(buffers, before)
                self._report(runner, data)
                return {}
            self._in_a_row = 0
            self._stepped = True
            return logged

        model.parse_losses = parse_losses
        runner.model.train_step = train_step

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin to look for a step that was made."""
        loop = runner.train_loop
        length = len(loop.dataloader) if isinstance(loop, EpochBasedTrainLoop) else 0
        # An epoch that was interrupted has made some before.
        self._stepped = (runner.iter % length if length else runner.iter) > 0

    def after_train_epoch(self, runner: Runner) -> None:
        """Refuse an epoch that taught nothing.

        Raises:
            NonFiniteError: if every step was left out.
        """
        if not self._stepped:
            raise NonFiniteError(
                f'Epoch {runner.epoch + 1}: every step was left out, as no loss was '
                f'finite, the last one {_losses(self._losses)}: nothing was learnt. '
                'Look for a loss that is 0/0, lower the learning rate, and check the '
                'data with tools/check_dataset.py.'
            )

    def _check(self, total: Tensor, logged: Mapping[str, Tensor]) -> None:
        """Refuse a step, in all processes alike."""
        bad = not bool(torch.isfinite(total.detach()))
        if on_any_rank(bad):
            values = {k: v.detach().item() for k, v in logged.items() if 'loss' in k}
            self._losses = {k: v for k, v in values.items() if not math.isfinite(v)}
            raise _StepLeftOut

    def _report(self, runner: Runner, data: Any) -> None:
        self._in_a_row += 1
        last = runner.message_hub.runtime_info.get('last_ckpt', 'none yet')
        message = (
            f'Iteration {runner.iter + 1} (epoch {runner.epoch + 1}): loss not finite: '
            f'got {_losses(self._losses)} on the images {_images(data)}; the step was '
            f'left out, {self._in_a_row} in a row. Last good checkpoint: {last}.'
        )
        if self._in_a_row >= self.max_in_a_row:
            raise NonFiniteError(
                f'{message} Stopped: go on from that checkpoint with a lower learning '
                'rate, a longer warm-up or optim_wrapper.clip_grad, and check the data '
                'with tools/check_dataset.py.'
            )
        print_log(message, logger='current', level=logging.WARNING)


def _losses(losses: Mapping[str, float]) -> str:
    parts = {k: v for k, v in losses.items() if k != 'loss'} or losses
    if not parts:
        return 'one in another process'
    return ', '.join(f'{name}={value}' for name, value in parts.items())


def _images(data: Any) -> str:
    """Ids and files of the images of a batch."""
    samples = data.get('data_samples', []) if isinstance(data, dict) else []
    names = []
    for sample in samples:
        meta = sample.metainfo
        shown = (meta[key] for key in ('img_id', 'img_path') if key in meta)
        names.append(' '.join(map(str, shown)) or 'without a name')
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + more or 'unknown'
