"""Building the runner of a training, with what keeps it safe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from aerialkd.engine.last_checkpoint import checkpoint_folder, find_resumable

# CheckpointHook is not among them: ours has taken the place of MMEngine's.
SAFEGUARDS = {
    'non_finite_loss': 'aerialkd.NonFiniteLossHook',
    'teacher_check': 'aerialkd.TeacherCheckHook',
}


def build_train_runner(cfg: Config) -> Runner:
    """Build a runner whose ``train()`` trains a config.

    Hooks that keep a training safe are added where the config has them not;
    ``default_hooks=dict(non_finite_loss=None)`` leaves one out.

    Args:
        cfg: a plain or a distillation config; changed in place.
    """
    hooks = cfg.setdefault('default_hooks', {})
    there = {hook.get('type') for hook in _hooks(cfg)}
    for name, hook in SAFEGUARDS.items():
        if name in hooks and hooks[name] is None:
            del hooks[name]
        elif there.isdisjoint({hook, hook.removeprefix('aerialkd.')}):
            hooks[name] = dict(type=hook)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def resume_newest(cfg: Config) -> None:
    """Let a training go on from its newest checkpoint, or start as its config says.

    MMEngine's own way forgets ``load_from``, which matters where there is nothing yet.

    Args:
        cfg: with a work dir; ``resume`` and ``load_from`` are changed.

    Raises:
        CheckpointError: if there are checkpoints, but none from which to go on.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    folder = checkpoint_folder(cfg.work_dir, hook.get('out_dir'))
    if folder is None or hook.get('backend_args'):
        cfg.resume, cfg.load_from = True, None  # MMEngine looks for it
        return
    found = find_resumable(folder)
    cfg.resume = found is not None
    if found is not None:
        cfg.load_from = str(found)


def _hooks(cfg: Config) -> Iterator[dict[str, Any]]:
    listed = [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]
    yield from (hook for hook in listed if isinstance(hook, dict))
