"""A training of a second that any change of order or random numbers would alter."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn

from aerialkd.locks import FolderLock
from tests.processes import environments

IMAGES, LENGTH = 11, 4  # batches of three, the last one smaller

DISTRIBUTED = dict(
    launcher='pytorch',
    model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None),
)


def draw() -> tuple[float, ...]:
    """A number of each generator."""
    numpys = np.random.rand()  # noqa: NPY002 - the one that mmdet's transforms use
    return random.random(), numpys, torch.rand(()).item()


@DATASETS.register_module(force=True)
class ToyDataset(torch.utils.data.Dataset):
    """Numbers, disturbed by each of the generators that augmentations draw from."""

    metainfo = {'classes': ('one',)}

    def __init__(self, disturbed=False):
        self.disturbed = disturbed

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        noise = sum(draw()) if self.disturbed else 0.0
        return {'inputs': torch.full((3,), index + noise), 'index': index}


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    """Draws random numbers in training, as dropout does."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.norm = nn.BatchNorm1d(1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs, index, mode):
        outputs = self.norm(self.layer(self.dropout(torch.stack(inputs))))
        if mode == 'predict':
            return [{'value': value.item()} for value in outputs]
        return {'loss_toy': ((outputs - 1) ** 2).mean()}


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    """The second epoch is the best one until the last."""

    scores = (0.1, 0.7, 0.2, 0.3, 0.4, 0.9)

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        from mmengine.logging import MessageHub

        epoch = MessageHub.get_current_instance().get_info('iter') // LENGTH
        return {'score': self.scores[epoch], 'mean': sum(r['value'] for r in results)}


@HOOKS.register_module(force=True)
class KillAt(Hook):
    """Signals its process once so many iterations are done: before it goes on, or
    ``before_val``.
    """

    def __init__(
        self, moment, iteration, number=signal.SIGKILL, rank=None, group=False
    ):
        self.moment, self.iteration = moment, iteration
        self.number, self.rank, self.group = number, rank, group

    def before_val(self, runner):
        if self.moment == 'before_val' and runner.iter == self.iteration:
            self._kill(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.moment == 'after_train_iter' and runner.iter + 1 == self.iteration:
            self._kill(runner)

    def _kill(self, runner):
        if self.group:
            # From another process: workers take their own one's word for it anyway.
            command = ['setsid', 'kill', f'-{self.number}', '--', f'-{os.getpgid(0)}']
            subprocess.run(command, check=True)
            time.sleep(1)  # until it has reached the workers
        elif self.rank in (None, runner.rank):
            os.kill(os.getpid(), self.number)


@HOOKS.register_module(force=True)
class Poison(Hook):
    """Makes a parameter, or the batches from an iteration on, no number."""

    def __init__(self, iteration, parameter=True, batches=1, rank=0):
        self.iterations = range(iteration, iteration + batches)
        self.parameter, self.rank = parameter, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        here = not self.parameter and runner.rank == self.rank
        if here and runner.iter + 1 in self.iterations:
            data_batch['inputs'][0].fill_(float('nan'))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.parameter and runner.iter + 1 in self.iterations:
            runner.model.layer.bias.data.fill_(float('nan'))


def toy_config(
    work_dir: Path,
    epochs: int = 6,
    workers: int = 0,
    persistent: bool = True,
    by_epoch: bool = True,
    disturbed: bool = False,
    **options: Any,
) -> Config:
    """A config of toys; ``options`` replace what it holds at the top.

    Without ``by_epoch`` it counts iterations, as many as the epochs have. The images to
    train on are ``disturbed`` in any case, those to validate on if it says so.
    """

    sampler = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
    loop = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
    if not by_epoch:
        loop = dict(
            type='IterBasedTrainLoop', max_iters=LENGTH * epochs, val_interval=LENGTH
        )

    def loader(train):
        return dict(
            batch_size=3,
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
            sampler=dict(type=sampler if train else 'DefaultSampler', shuffle=train),
            dataset=dict(type='ToyDataset', disturbed=train or disturbed),
        )

    checkpoint = dict(
        type='CheckpointHook',
        interval=1 if by_epoch else LENGTH,
        by_epoch=by_epoch,
        max_keep_ckpts=2,
        save_best='score',
        rule='greater',
    )
    cfg = dict(
        model=dict(type='ToyModel'),
        work_dir=str(work_dir),
        train_dataloader=loader(True),
        val_dataloader=loader(False),
        val_evaluator=dict(type='ToyMetric'),
        val_cfg=dict(),
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
            dict(type='CosineAnnealingLR', T_max=epochs, convert_to_iter_based=True),
            dict(type='MultiStepLR', milestones=[4], gamma=0.5),
        ][: 3 if by_epoch else 2],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1), checkpoint=checkpoint
        ),
        randomness=dict(seed=1),
        log_level='ERROR',
        experiment_name='toy',
    )
    return Config({**cfg, **options})


def train_toy(work_dir: Path, **options: Any) -> Runner:
    """Train, or resume with ``resume=True``; leaves ``state.pt`` when it is done."""
    # It asks compilers for their versions, which takes longer than the training.
    with mock.patch('mmengine.runner.runner.collect_env', dict):
        runner = Runner.from_cfg(toy_config(work_dir, **options))
    runner.train()
    hub = runner.message_hub
    scalars = {
        name: [list(map(float, values)) for values in buffer.data]
        for name, buffer in hub.log_scalars.items()
        if 'time' not in name and 'memory' not in name
    }
    state = {
        'parameters': runner.model.state_dict(),
        'optimizer': runner.optim_wrapper.state_dict(),
        'schedulers': [s.state_dict() for s in runner.param_schedulers or ()],
        'best': (hub.get_info('best_score'), Path(hub.get_info('best_ckpt')).name),
        'history': {
            name: [list(map(float, x)) for x in d] for name, d in scalars.items()
        },
        'progress': (runner.epoch, runner.iter),
        'next': draw(),
    }
    if runner.rank == 0:
        torch.save(state, work_dir / 'state.pt')
    return runner


def in_child(run: Callable[[], object]) -> int:
    """Run something in a child process; its exit status, minus the signal's number."""
    child = os.fork()
    if child == 0:
        status = 1
        torch.set_num_threads(1)  # the pool of threads was not forked
        try:
            run()
            status = 0
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


@contextlib.contextmanager
def locked_elsewhere(folder: Path) -> Iterator[int]:
    """Another process holds the lock of a folder; gives its number."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        FolderLock(folder).acquire()
        os.write(write, b'x')
        signal.pause()
    os.read(read, 1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


def in_processes(number, run):
    """Run in processes of a gloo group; their exit statuses."""

    def start(environment):
        os.environ.update(environment, OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
        torch.distributed.init_process_group('gloo')
        run()
        torch.distributed.destroy_process_group()

    children = []
    for environment in environments(number):
        child = os.fork()
        if child == 0:
            os._exit(in_child(functools.partial(start, environment)) & 255)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]
