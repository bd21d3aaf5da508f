"""Building the runner of a training, with what keeps it safe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

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


def _hooks(cfg: Config) -> Iterator[dict[str, Any]]:
    listed = [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]
    yield from (hook for hook in listed if isinstance(hook, dict))
