"""What a checkpoint holds beyond MMEngine's, so that training goes on bit for bit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from numbers import Real
from typing import Any

from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from aerialkd.engine.random_states import (
    CarryState,
    StartWorker,
    State,
    process_state,
    set_random_state,
    take_state,
)
from aerialkd.engine.replay import Validation
from aerialkd.engine.resumed_settings import settle_settings
from aerialkd.engine.resuming import recount, remaining, sampler_of, surroundings

_KEY = 'aerialkd_resume'


class ResumeState:
    """Random states and the place in the epoch, followed over a training.

    Args:
        runner: about to train; its loaders are made to carry random states.
    """

    def __init__(self, runner: Runner) -> None:
        self._loop = runner.train_loop
        self._loader: DataLoader = self._loop.dataloader
        self._by_epoch = isinstance(self._loop, EpochBasedTrainLoop)
        self._surroundings = surroundings(runner)
        # By number of the worker, had the epoch never been interrupted.
        self._workers: list[State | None] = [None] * self._loader.num_workers
        self._skipped = 0  # batches at the beginning of this epoch
        self._boundary: State | None = None  # before the validation that is running
        self._validated = False
        self._validations: list[Validation] = []
        loaders = [self._loader]
        if runner.val_loop is not None:
            loaders.append(runner.val_loop.dataloader)
        self._starts = [StartWorker.of(loader, runner.seed) for loader in loaders]
        if self._workers and not isinstance(self._loader.collate_fn, CarryState):
            self._loader.collate_fn = CarryState(self._loader.collate_fn)

    @staticmethod
    def adapt(
        runner: Runner, checkpoint: dict[str, Any], digests: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """Take our part out of a checkpoint and adapt the rest to this training.

        Args:
            runner: about to resume.
            checkpoint: changed in place.
            digests: of the teachers' files.
        """
        part: dict[str, Any] | None = checkpoint.pop(_KEY, None)
        moved, validations = True, None
        if part is not None:
            moved = part['surroundings'] != surroundings(runner)
            recount(runner, checkpoint, part['surroundings'])
            if 'validations' in part:
                validations = [Validation(*one) for one in part['validations']]
        settle_settings(runner, checkpoint, moved, validations, digests)
        return part

    def add_to(self, checkpoint: dict[str, Any]) -> None:
        """Add our part to a checkpoint that is being written."""
        checkpoint[_KEY] = {
            'surroundings': self._surroundings,
            'random': self._boundary or process_state(),
            'workers': self._workers,
            'sampler_seed': getattr(sampler_of(self._loader), 'seed', None),
            'validated': self._validated,
            'validations': [tuple(one) for one in self._validations],
        }

    def restore(self, runner: Runner, part: dict[str, Any] | None) -> bool:
        """Go on where a checkpoint was written.

        Returns:
            Whether a validation that was due there may not have been saved.
        """
        if part is None:
            print_log(
                'The checkpoint holds no random states, as it was not written by '
                'aerialkd: the training goes on, but not bit for bit.',
                logger='current',
                level=logging.WARNING,
            )
            return False
        self._validations = [Validation(*one) for one in part.get('validations', [])]
        done = runner.iter
        if self._by_epoch:
            done -= runner.epoch * self._surroundings['epoch_length']
            self._skipped = done
        sampler = sampler_of(self._loader)
        if getattr(sampler, 'seed', None) is not None:
            sampler.seed = part['sampler_seed']
        for start in self._starts:
            start.reseed(runner.seed)
        same = part['surroundings'] == self._surroundings and get_rank() == 0
        if same and len(part['workers']) == len(self._workers):
            self._workers = list(part['workers'])
            # A worker that is not persistent starts every epoch from its seed.
            if self._loader.persistent_workers or done:
                self._start_workers(done)
        set_random_state(part['random'])
        return not part['validated'] and (done == 0 or not self._by_epoch)

    def before_epoch(self) -> None:
        """Leave out the batches of an interrupted epoch that were trained on."""
        if self._skipped:
            self._loop.dataloader = remaining(self._loader, self._skipped)
        elif not self._loader.persistent_workers:
            self._workers = [None] * len(self._workers)  # they start from their seeds

    def after_epoch(self) -> None:
        """Go back to whole epochs."""
        if self._skipped:
            self._loop.dataloader = self._loader
            self._skipped = 0
            self._starts[0].states = ()
            if self._loader.persistent_workers:
                self._start_workers(0)

    def before_iteration(self, batch_idx: int, batch: Any) -> None:
        """Note the state that a batch carries, and take it out."""
        self._validated, self._boundary = False, None
        state = take_state(batch)
        if state is not None:
            self._workers[(self._skipped + batch_idx) % len(self._workers)] = state

    def before_validation(self) -> None:
        """Keep the states from before the validation."""
        self._boundary = process_state()

    def after_validation(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Note that the validation has been done, and what it found."""
        self._validated, self._boundary = True, None
        numbers = {k: float(v) for k, v in metrics.items() if isinstance(v, Real)}
        self._validations.append(Validation(runner.epoch, runner.iter, numbers))

    def _start_workers(self, batches: int) -> None:
        """Let the next workers go on after so many batches; they take turns."""
        self._starts[0].states = tuple(self._workers)
        self._starts[0].turn = batches
