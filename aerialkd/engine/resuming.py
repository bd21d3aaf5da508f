"""Going on with a training where a checkpoint was written, also in other surroundings.

With other numbers of processes or images an epoch has another number of iterations.
MMEngine restores schedules in the old unit, which then end too early or too late.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

# What a scheduler counts; everything else follows from the config.
_COUNTS = {'last_step', '_global_step', 'base_values', '_last_value'}
# How long a schedule is, which may be changed when a training goes on.
_LENGTHS = ('begin', 'end', 'T_max', 'milestones', 'total_iters')


def surroundings(runner: Runner) -> dict[str, int]:
    """What decides how many iterations an epoch has and what one of them is."""
    loader = runner.train_dataloader
    return {
        'epoch_length': len(loader),
        'world_size': get_world_size(),
        'batch_size': loader.batch_size or 0,  # 0: a batch sampler decides
    }


def adapt_checkpoint(
    runner: Runner, checkpoint: dict[str, Any], before: dict[str, int]
) -> None:
    """Count what a checkpoint counts in iterations in those of this training.

    Args:
        runner: with its loader and schedulers built.
        checkpoint: changed in place.
        before: :func:`surroundings` of the training that wrote it.
    """
    now = surroundings(runner)
    if not isinstance(runner.train_loop, EpochBasedTrainLoop) or now == before:
        return
    meta = checkpoint['meta']
    ratio = now['epoch_length'] / before['epoch_length']
    iterations = meta['iter']
    meta['iter'] = round(iterations * ratio)
    for scheduler, state, cfg in _schedulers(runner, checkpoint):
        _adapt_scheduler(scheduler, state, ratio if _is_converted(cfg) else 1.0)
    images = [s['world_size'] * s['batch_size'] for s in (before, now)]
    print_log(
        f'The checkpoint is of {before["world_size"]} processes with epochs of '
        f'{before["epoch_length"]} iterations, this one of {now["world_size"]} with '
        f'{now["epoch_length"]}: iteration {iterations} becomes {meta["iter"]}, and '
        f'schedules over epochs go on in place. {_learning_rate(runner, images)}',
        logger='current',
        level=logging.WARNING,
    )
    if _scales(runner) and all(images):
        _scale_learning_rate(runner, checkpoint, images[1] / images[0])


def adapt_lengths(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Let schedules last as long as the config says; MMEngine restores the old lengths.

    Args:
        runner: with its schedulers built.
        checkpoint: changed in place.
    """
    for scheduler, state, _ in _schedulers(runner, checkpoint):
        fresh = scheduler.state_dict()
        there = [key for key in _LENGTHS if key in fresh and key in state]
        if any(fresh[key] != state[key] for key in there):
            state.update({key: fresh[key] for key in there})
            _set_last_step(scheduler, state)


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


def _schedulers(
    runner: Runner, checkpoint: dict[str, Any]
) -> Iterator[tuple[Any, dict[str, Any], dict[str, Any]]]:
    """Built schedulers, their saved states and their configs."""
    built, saved = runner.param_schedulers, checkpoint.get('param_schedulers')
    cfgs = runner.cfg.get('param_scheduler')
    if built is None or saved is None:
        return
    groups = [(built, saved, cfgs)]
    if isinstance(built, dict):
        groups = [(built[key], saved[key], (cfgs or {}).get(key)) for key in built]
    for schedulers, states, cfg in groups:
        listed = cfg if isinstance(cfg, (list, tuple)) else [cfg]
        yield from zip(schedulers, states, listed, strict=False)


def _is_converted(cfg: Any) -> bool:
    return bool(isinstance(cfg, dict) and cfg.get('convert_to_iter_based'))


def _adapt_scheduler(scheduler: Any, state: dict[str, Any], ratio: float) -> None:
    fresh = scheduler.state_dict()
    state.update({key: fresh[key] for key in fresh if key not in _COUNTS})
    if ratio != 1:
        state['_global_step'] = round(state['_global_step'] * ratio)
        _set_last_step(scheduler, state)


def _set_last_step(scheduler: Any, state: dict[str, Any]) -> None:
    """The step within [begin, end) that the scheduler has reached, -1 before it."""
    step = min(state['_global_step'], scheduler.end - 1)
    state['last_step'] = max(step - scheduler.begin, -1)


def _scales(runner: Runner) -> bool:
    return bool((runner.auto_scale_lr or {}).get('enable', False))


def _learning_rate(runner: Runner, images: list[int]) -> str:
    if images[0] == images[1]:
        return ''
    step = f'A step now sees {images[1]} images instead of {images[0]}: '
    if _scales(runner):
        return f'{step}the learning rate is scaled (auto_scale_lr).'
    return f'{step}the learning rate stays, --auto-scale-lr would scale it.'


def _scale_learning_rate(
    runner: Runner, checkpoint: dict[str, Any], factor: float
) -> None:
    """MMEngine scales the new optimizer only, whose rates the checkpoint replaces."""
    for group in checkpoint['optimizer'].get('param_groups', []):
        for key in ('lr', 'initial_lr'):
            if key in group:
                group[key] *= factor
    for scheduler, state, _ in _schedulers(runner, checkpoint):
        if scheduler.param_name == 'lr':
            for key in ('base_values', '_last_value'):
                state[key] = [value * factor for value in state[key]]
