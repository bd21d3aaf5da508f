"""Checkpoints that survive a kill at any moment, and from which a training goes on.

The hook takes the place of MMEngine's under the same name, so that every config has it.
MMEngine's deletes the oldest checkpoint before it writes the new one, in place.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from mmengine import hooks
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.runner import Runner

from aerialkd.engine.best_score import BestCheckpoints
from aerialkd.engine.distributed import highest_on_any_rank, plain_model
from aerialkd.engine.inputs import teacher_digests
from aerialkd.engine.last_checkpoint import (
    LAST,
    Kept,
    check_resumable,
    checkpoint_folder,
    find_resumable,
    read_kept,
    write_kept,
)
from aerialkd.engine.noted_inputs import note_inputs
from aerialkd.engine.resume_state import ResumeState
from aerialkd.engine.resumed_settings import DIGESTS
from aerialkd.engine.resuming import validation_is_due
from aerialkd.engine.termination import Termination, exit_status
from aerialkd.errors import CheckpointFileError, ConfigError, NonFiniteError
from aerialkd.evaluation.metric_names import current_name
from aerialkd.files import sha256_of, whole_file, write_whole
from aerialkd.registry import HOOKS

INTERRUPTED = 'interrupted.pth'


@ROOT_HOOKS.register_module(name='CheckpointHook', force=True)
@HOOKS.register_module()
class CheckpointHook(BestCheckpoints):
    """Save checkpoints so that at any moment one is whole; resume exactly.

    - A checkpoint is written under another name, flushed to the disk and renamed;
      those beyond ``max_keep_ckpts`` and the previous best one are removed after that.
    - ``last_checkpoint`` lists the checkpoints with their digests; ``--resume`` takes
      the newest whole one, also where that file is damaged.
    - SIGTERM, Ctrl-C and SIGHUP end the training after its step with
      ``interrupted.pth``; a second Ctrl-C ends it at once.
    - A checkpoint holds the random states of process and workers; a validation that
      was due when the training was killed is made up for. Resumed on one device, the
      training goes on bit for bit. With another number of processes, iterations are
      counted anew.
    - Learning rates, schedules and other settings of the optimizer are the config's,
      even if the checkpoint's training had others; what differs is named.
    - A model with parameters that are not finite is not saved, and none is the best one
      for a measure without ground truth.
    - Whether more is better is known of the measures of aerialkd without ``rule``.

    Args:
        args: as for ``mmengine.hooks.CheckpointHook``, and ``kwargs`` too. To a folder
            that is not local (``backend_args``), files are written as MMEngine does.

    Raises:
        CheckpointError: if a checkpoint cannot be written, or none can be resumed.
        NonFiniteError: if a parameter is not finite.
        MetricConfigError: if the evaluation has no measure of the name ``save_best``.
    """

    __signature__ = inspect.signature(hooks.CheckpointHook)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _check_arguments(self)
        self._folder: Path | None = None  # None: not local
        self._state: ResumeState | None = None  # None: nothing is trained
        self._loaded: dict[str, Any] | None = None
        self._digests: dict[str, str] | None = None
        self._termination = Termination()
        self._writes_training = False
        self.keep_ckpt_ids: deque[int] = deque()
        self._written: tuple[int, int] | None = None  # epoch and iteration

    def before_run(self, runner: Runner) -> None:
        """Find what ``--resume`` goes on from, before MMEngine looks for it."""
        if self.backend_args or self.file_client_args:
            return
        self._folder = checkpoint_folder(runner.work_dir, self.out_dir)
        if self._folder is None:
            return
        if runner._resume and runner._load_from is None:
            found = find_resumable(self._folder)
            # Without one MMEngine would believe last_checkpoint, whatever it says.
            runner._resume = found is not None
            runner._load_from = None if found is None else str(found)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Count what a checkpoint counts in iterations in those of this training."""
        if runner._resume:
            check_resumable(checkpoint, runner._load_from)
            # Or measures under names of 0.1.0 would be logged again and again.
            hub = checkpoint.get('message_hub')
            scalars = hub['log_scalars'] if isinstance(hub, dict) else {}
            for name in list(scalars):
                scalars[current_name(name)] = scalars.pop(name)
            digests = self._teacher_digests(runner)
            self._loaded = ResumeState.adapt(runner, checkpoint, digests)

    def before_train(self, runner: Runner) -> None:
        """Restore the random states, and make up for a validation that was missed."""
        super().before_train(runner)
        if self._folder is not None and is_main_process():
            for part in self._folder.glob('.*.part'):  # of a training that was killed
                part.unlink()
        self._state = ResumeState(runner)
        digests = self._teacher_digests(runner)  # in every process
        if self._folder is not None:
            note_inputs(runner, digests)
        self._termination.listen(type(runner.train_loop).run)
        if runner.iter == 0:
            return
        self._written = (runner.epoch, runner.iter)
        hub = runner.message_hub
        self.last_ckpt = hub.runtime_info.get('last_ckpt')
        hub.update_info('iter', runner.iter - 1)  # the last step, as before
        if self._state.restore(runner, self._loaded) and validation_is_due(runner):
            print_log(
                'Validating first: the checkpoint is from before the validation that '
                'is due here.',
                logger='current',
            )
            hub.update_info('epoch', runner.epoch - 1)
            runner.val_loop.run()

    def after_train(self, runner: Runner) -> None:
        """Publish, if asked for, and give the signals back."""
        super().after_train(runner)
        self._termination.stop_listening()

    def before_train_epoch(self, runner: Runner) -> None:
        """Leave out the batches of an interrupted epoch that were trained on."""
        self._training.before_epoch()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Note the random state that the batch carries."""
        self._training.before_iteration(batch_idx, data_batch)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Save if that is due, or if the process is to end."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        number = highest_on_any_rank(self._termination.number)
        if number and _has_stepped(runner):
            self._end(runner, dict(epoch=runner.epoch, iter=runner.iter + 1), number)

    def after_train_epoch(self, runner: Runner) -> None:
        """Save if that is due."""
        self._training.after_epoch()
        super().after_train_epoch(runner)

    def before_val(self, runner: Runner) -> None:
        """Keep the random states from before the validation."""
        if self._state is not None:
            self._state.before_validation()

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """End if the process is to end; the validation will be made up for."""
        # Not agreed upon: processes may have other numbers of images to validate.
        number = self._termination.number
        if self._state is not None and number:
            self._end(runner, dict(epoch=runner.epoch, iter=runner.iter), number)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best one."""
        if self._state is not None:
            self._state.after_validation(runner, metrics)
        super().after_val_epoch(runner, metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what a training goes on from, and which teachers it had."""
        digests = self._teacher_digests(runner)
        if digests:
            checkpoint['meta'][DIGESTS] = digests
        if self._writes_training:
            self._training.add_to(checkpoint)

    def _teacher_digests(self, runner: Runner) -> dict[str, str]:
        """Of the teachers' files; every process computes them once."""
        if self._digests is None:
            self._digests = teacher_digests(runner.cfg)
        return self._digests

    @property
    def _training(self) -> ResumeState:
        if self._state is None:
            raise RuntimeError('before_train was not called')
        return self._state

    def _end(self, runner: Runner, meta: dict[str, int], number: int) -> NoReturn:
        """Save what has not been saved, and leave the process as a signal says."""
        if self._written != (meta['epoch'], meta['iter']):
            _check_finite(runner, meta)
            self._write(runner, INTERRUPTED, meta)
        print_log(
            f'{signal.Signals(number).name}: the training is saved in '
            f'{self._folder or self.out_dir}; --resume goes on from here.',
            logger='current',
            level=logging.WARNING,
        )
        raise SystemExit(exit_status(number))

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict[str, int]
    ) -> None:
        """MMEngine's, in another order: first the new file, then the old ones."""
        _check_finite(runner, meta)
        if self._folder is None:
            self._writes_training = True
            try:
                super()._save_checkpoint_with_step(runner, step, meta)
            finally:
                self._writes_training = False
            self._written = (meta['epoch'], meta['iter'])
            return
        name = self.filename_tmpl.format(step)
        surplus = self._keep(runner, step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._write(runner, name, meta)
        if is_main_process():
            for old in (*surplus, INTERRUPTED):
                (self._folder / old).unlink(missing_ok=True)
            _forget_removed(self._folder)

    def _keep(self, runner: Runner, step: int) -> list[str]:
        """Count a step among those kept; names of the files that then are too many."""
        if self.max_keep_ckpts <= 0:
            return []
        steps = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
        kept = steps[-self.max_keep_ckpts :]
        self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        runner.message_hub.update_info('keep_ckpt_ids', kept)
        return [self.filename_tmpl.format(old) for old in steps if old not in kept]

    def _write(self, runner: Runner, name: str, meta: dict[str, int]) -> None:
        """Write a checkpoint of the training."""
        self._writes_training = True
        try:
            with self._whole(name, announce=True) as part:
                # The class's: _save_best_checkpoint replaces the instance's.
                type(runner).save_checkpoint(
                    runner,
                    str(self.out_dir),
                    part,
                    self.file_client_args,
                    save_optimizer=self.save_optimizer,
                    save_param_scheduler=self.save_param_scheduler,
                    meta=dict(meta),
                    by_epoch=self.by_epoch,
                    backend_args=self.backend_args,
                    **self.args,
                )
        finally:
            self._writes_training = False
        self._written = (meta['epoch'], meta['iter'])
        work_dir = Path(runner.work_dir)
        if self._folder != work_dir and is_main_process():
            # Where MMEngine looks, whatever folder the checkpoints are in.
            where = self.file_backend.join_path(self.out_dir, name)
            write_whole(work_dir / LAST, str(where).encode())

    @contextmanager
    def _whole(self, name: str, announce: bool = False) -> Iterator[str]:
        """The name under which a file is to be written that then gets its own."""
        folder = self._folder
        if folder is None or not is_main_process():
            yield name
            return
        try:
            with whole_file(folder / name) as part:
                yield part.name
                if announce:
                    write_kept(
                        folder, [Kept(name, sha256_of(part)), *read_kept(folder)]
                    )
        except OSError as error:
            message = (
                f'{folder / name}: the checkpoint cannot be written: {error}. Earlier '
                'ones are as they were; make room or set another --work-dir, and '
                'go on with --resume.'
            )
            raise CheckpointFileError.of(message, error) from error


def _check_arguments(hook: hooks.CheckpointHook) -> None:
    """Refuse what MMEngine would stumble over when it saves, after an epoch."""
    if type(hook.interval) is not int:
        raise ConfigError(
            f'default_hooks.checkpoint.interval: got {hook.interval!r}, expected a '
            'whole number; correct it.'
        )
    known = inspect.signature(hooks.CheckpointHook).parameters
    for name in hook.args:  # for Runner.save_checkpoint, which a user's runner may have
        near = difflib.get_close_matches(name, known, 1)
        if near:
            raise ConfigError(
                f'default_hooks.checkpoint: got an unknown argument {name!r}. Did you '
                f'mean {near[0]!r}?'
            )


def _has_stepped(runner: Runner) -> bool:
    """Whether no gradients are being accumulated, which no checkpoint holds."""
    wrapper = runner.optim_wrapper
    every = getattr(wrapper, '_accumulative_counts', 1)
    return bool(getattr(wrapper, '_inner_count', 0) % every == 0)


def _check_finite(runner: Runner, meta: dict[str, int]) -> None:
    parameters = plain_model(runner).named_parameters()
    bad = [name for name, value in parameters if not torch.isfinite(value).all()]
    if bad:
        last = runner.message_hub.runtime_info.get('last_ckpt', 'none')
        raise NonFiniteError(
            f'Iteration {meta["iter"]}: {len(bad)} parameters are not finite, the '
            f'first is {bad[0]}: the model is not saved. Last good checkpoint: {last}. '
            'Lower the learning rate, clip gradients, or look for a loss that is 0/0.'
        )


def _forget_removed(folder: Path) -> None:
    """Leave out of ``last_checkpoint`` what is no longer there."""
    listed = read_kept(folder)
    there = {k.name: k for k in reversed(listed) if (folder / k.name).is_file()}
    kept = [k for k in listed if there.get(k.name) == k]
    if kept != listed:
        write_kept(folder, kept)
