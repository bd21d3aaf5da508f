"""Building the runner of a training, with what keeps it safe."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.logging import print_log
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner

from aerialkd.engine.classes import check_classes
from aerialkd.engine.config_numbers import check_numbers
from aerialkd.engine.distributed import plain_model
from aerialkd.engine.last_checkpoint import (
    check_free,
    check_resumable,
    find_resumable,
    local_checkpoint_folder,
)
from aerialkd.engine.runners import build_runner
from aerialkd.engine.stored_settings import (
    differences,
    listed,
    parse_settings,
    settings_of,
)
from aerialkd.engine.training_lock import TrainingLock
from aerialkd.errors import ConfigError
from aerialkd.loading import file_of, read_checkpoint

ALLOW = '--allow-changes'
TRAINING_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

# CheckpointHook is not among them: ours has taken the place of MMEngine's.
SAFEGUARDS = {
    'non_finite_loss': 'aerialkd.NonFiniteLossHook',
    'teacher_check': 'aerialkd.TeacherCheckHook',
}


def build_train_runner(cfg: Config) -> Runner:
    """Build a runner whose ``train()`` trains a config.

    No other training may write its work dir until that has ended.

    Hooks that keep a training safe are added where the config has them not;
    ``default_hooks=dict(non_finite_loss=None)`` leaves one out.

    Args:
        cfg: a plain or a distillation config; changed in place.

    Raises:
        ConfigError: if there is nothing to train on, heads and data have other classes,
            a number, a data loader's settings or the optimizer's type are wrong,
            another process trains in the work dir, or it cannot be written.
    """
    check_numbers(cfg)
    hooks = cfg.setdefault('default_hooks', {})
    there = {hook.get('type') for hook in _hooks(cfg)}
    for name, hook in SAFEGUARDS.items():
        if name in hooks and hooks[name] is None:
            del hooks[name]
        elif there.isdisjoint({hook, hook.removeprefix('aerialkd.')}):
            hooks[name] = dict(type=hook)
    _check_optimizer(cfg)
    lock = TrainingLock(cfg)
    lock.acquire()
    try:
        runner = build_runner(cfg, 'train')
        check_classes(cfg, plain_model(runner), TRAINING_LOADERS)
    except BaseException:
        lock.release()
        raise
    lock.hold_while_training(runner)
    return runner


def _check_optimizer(cfg: Config) -> None:
    """Refuse a type that does not exist, which MMEngine's constructor takes for one."""
    kind = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('type')
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        near = difflib.get_close_matches(kind, OPTIMIZERS.module_dict, 1)
        raise ConfigError(
            f'optim_wrapper.optimizer.type: got {kind!r}, which is not in the '
            'optimizer registry; correct it.'
            + (f' Did you mean {near[0]!r}?' if near else '')
        )


def resume_newest(cfg: Config) -> None:
    """Let a training go on from its newest checkpoint, or start as its config says.

    MMEngine's own way forgets ``load_from``, which matters where there is nothing yet.

    Args:
        cfg: with a work dir; ``resume`` and ``load_from`` are changed.

    Raises:
        CheckpointError: if there are checkpoints, but none from which to go on.
    """
    folder = local_checkpoint_folder(cfg)
    if folder is None:
        cfg.resume, cfg.load_from = True, None  # MMEngine looks for it
        return
    found = find_resumable(folder)
    cfg.resume = found is not None
    if found is not None:
        cfg.load_from = str(found)


def settle_start(
    cfg: Config, resume: str | None = None, allow_changes: bool = False
) -> None:
    """Decide what a training starts from, so that it writes over no other one.

    Every process has to call it, and all decide the same: none begins to write before.

    Args:
        cfg: with a work dir; ``resume`` and ``load_from`` are changed.
        resume: name of a checkpoint, or ``'auto'`` for the newest of the work dir;
            None for what the config says.
        allow_changes: resume, with a warning, although decisive settings differ.

    Raises:
        CheckpointError: if there is no checkpoint from which to go on.
        ConfigError: if the work dir holds checkpoints and none of them is resumed, or
            the one to resume is of a training with other settings.
    """
    weights = cfg.get('load_from')
    newest = resume == 'auto' or not (resume or cfg.get('load_from'))
    if newest and (resume or cfg.get('resume')):
        resume = 'auto'
        resume_newest(cfg)
    elif resume:
        cfg.resume, cfg.load_from = True, resume
    resumes = bool(cfg.get('resume'))
    if allow_changes and not (resume or resumes):
        raise ConfigError(f'{ALLOW}: got no --resume, with which it goes.')
    if resumes and cfg.load_from:
        _check_same_settings(cfg, allow_changes, weights)
    folder = local_checkpoint_folder(cfg)
    if folder is not None and not (resumes and (newest or _is_in(folder, cfg))):
        unusable = 'Name one that lies there with --resume FILE' if resume else ''
        check_free(folder, unusable or 'Go on with --resume')
    barrier()


def _is_in(folder: Path, cfg: Config) -> bool:
    return file_of(cfg.load_from).resolve().parent == folder.resolve()


def _check_same_settings(cfg: Config, allow_changes: bool, weights: str | None) -> None:
    content = read_checkpoint(cfg.load_from)
    check_resumable(content, cfg.load_from)
    try:
        stored = parse_settings(content['meta'].get('cfg', ''), str(cfg.load_from))
    except ConfigError:
        stored = {}
    if 'model' not in stored:
        _warn(
            f'{cfg.load_from}: states no config that can be read; nothing tells '
            'whether its training had the settings that are given.'
        )
        return
    found = differences(stored, settings_of(cfg), resumed=True)
    if found and not allow_changes:
        raise ConfigError(
            f'{cfg.load_from}: its training had other settings: {listed(found)}. Train '
            f'in another --work-dir, or resume with {ALLOW}.'
        )
    began_from = stored.get('load_from')
    if weights not in (None, cfg.load_from, began_from) and not stored.get('resume'):
        _warn(
            f'load_from: stored {began_from!r}, given {weights!r}; without effect, as '
            f'weights are those of {cfg.load_from}.'
        )


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)


def _hooks(cfg: Config) -> Iterator[dict[str, Any]]:
    listed = [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]
    yield from (hook for hook in listed if isinstance(hook, dict))
