"""Going on with a training where a checkpoint was written, also in other surroundings.

With other numbers of processes or images an epoch has another number of iterations.
"""

from __future__ import annotations

import itertools
import logging
from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader


def surroundings(runner: Runner) -> dict[str, int]:
    """What decides how many iterations an epoch has and what one of them is."""
    loader = runner.train_dataloader
    return {
        'epoch_length': len(loader),
        'world_size': get_world_size(),
        'batch_size': loader.batch_size or 0,  # 0: a batch sampler decides
    }


def recount(runner: Runner, checkpoint: dict[str, Any], before: dict[str, int]) -> None:
    """Count the iterations of a checkpoint in those of this training.

    Args:
        runner: with its loader built.
        checkpoint: changed in place.
        before: :func:`surroundings` of the training that wrote it.
    """
    now = surroundings(runner)
    if not isinstance(runner.train_loop, EpochBasedTrainLoop) or now == before:
        return
    meta = checkpoint['meta']
    iterations = meta['iter']
    meta['iter'] = round(iterations * now['epoch_length'] / before['epoch_length'])
    images = [s['world_size'] * s['batch_size'] for s in (before, now)]
    print_log(
        f'The checkpoint is of {before["world_size"]} processes with epochs of '
        f'{before["epoch_length"]} iterations, this one of {now["world_size"]} with '
        f'{now["epoch_length"]}: iteration {iterations} becomes {meta["iter"]}, '
        f'for schedules too. {_learning_rate(runner, images)}',
        logger='current',
        level=logging.WARNING,
    )


def remaining(loader: DataLoader, batches: int) -> DataLoader:
    """A loader for what is left of an epoch.

    Args:
        loader: whose sampler has been told the epoch.
        batches: that were trained on before.
    """
    every: Any = loader.batch_sampler
    left = list(itertools.islice(every, batches, None))
    return DataLoader(
        loader.dataset,
        batch_sampler=left,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )


def sampler_of(loader: DataLoader) -> Any:
    """The sampler that shuffles, also behind one that groups by aspect ratio."""
    batches = loader.batch_sampler
    return getattr(batches, 'sampler', None) or loader.sampler


def validation_is_due(runner: Runner) -> bool:
    """Whether the train loop would validate at this point."""
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    done, last = (
        (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    )
    loop._decide_current_val_interval()
    due: bool = done % loop.val_interval == 0 or done == last
    return done >= loop.val_begin and due


def _scales(runner: Runner) -> bool:
    return bool((runner.auto_scale_lr or {}).get('enable', False))


def _learning_rate(runner: Runner, images: list[int]) -> str:
    if images[0] == images[1]:
        return ''
    step = f'A step now sees {images[1]} images instead of {images[0]}: '
    if _scales(runner):
        return f'{step}the learning rate is scaled (auto_scale_lr).'
    return f'{step}the learning rate stays, --auto-scale-lr would scale it.'
