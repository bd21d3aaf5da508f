"""Runners, built from configs whose data loaders have been checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from aerialkd.errors import ConfigError

# What MMEngine wants all of or none of.
_PARTS = {
    'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}
# Settings of a DataLoader that it refuses without workers.
_OF_WORKERS = (
    *('persistent_workers', 'prefetch_factor'),
    *('timeout', 'multiprocessing_context'),
)
# What a loop counts, and what it would refuse with a traceback.
_COUNTED = {
    'EpochBasedTrainLoop': ('max_epochs', 'max_iters'),
    'IterBasedTrainLoop': ('max_iters', 'max_epochs'),
}


def build_runner(cfg: Config, part: str) -> Runner:
    """Build the runner of a config, which stays as it is.

    With ``num_workers=0`` whatever concerns workers has no effect, where torch would
    refuse it: one setting is enough to load the data in the process itself.

    Args:
        cfg: a config that is complete for the part.
        part: 'train' or 'test', what the runner is for.

    Raises:
        ConfigError: if the part is missing, or a data loader's settings are wrong.
    """
    _check_parts(cfg, part)
    for name, loader in _loaders(cfg):
        _check_loader(name, loader)
    if part == 'train':
        _check_loop(cfg.train_cfg)
    kind: Any = RUNNERS.get(cfg.runner_type) if 'runner_type' in cfg else Runner
    if kind is None:
        raise ConfigError(
            f'runner_type: got {cfg.runner_type!r}, which is not registered; correct '
            'it, or import what registers it by custom_imports.'
        )
    if part == 'test':
        kind = type(kind.__name__, (_LeavesConfig, kind), {})
    runner: Runner = kind.from_cfg(cfg)
    for name in _PARTS:
        # Its own copy: what it dumps keeps the words of the config.
        own = getattr(runner, f'_{name}_dataloader', None)
        if isinstance(own, dict) and not own.get('num_workers'):
            for key in _OF_WORKERS:
                own.pop(key, None)
    return runner


class _LeavesConfig(Runner):
    """Its config is dumped beside its log: the work dir's is that of the training."""

    @master_only
    def dump_config(self) -> None:
        name = Path(self.cfg.filename or self.timestamp).stem
        self.cfg.dump(str(Path(self.log_dir) / f'{name}.py'))


def _check_parts(cfg: Config, needed: str) -> None:
    for part, keys in _PARTS.items():
        there = [key for key in keys if cfg.get(key) is not None]
        missing = ', '.join(key for key in keys if key not in there)
        if missing and (there or part == needed):
            remedy = '' if part == needed else ', or none: set the others to None'
            raise ConfigError(
                f'{cfg.filename or "config"}: got no {missing}, expected '
                f'{", ".join(keys)}{remedy}.'
            )


def _loaders(cfg: Config) -> Iterator[tuple[str, dict]]:
    for part in _PARTS:
        name = f'{part}_dataloader'
        if isinstance(cfg.get(name), dict):
            yield name, cfg[name]


def _check_loader(name: str, loader: dict[str, Any]) -> None:
    """Refuse here what would fail far away, in torch."""
    for key, least in (('num_workers', 0), ('batch_size', 1)):
        value = loader.get(key, least)
        if type(value) is not int or value < least:
            raise ConfigError(
                f'{name}.{key}: got {value!r}, expected a whole number from {least} on.'
            )
    if loader.get('dataset') is None:
        raise ConfigError(f'{name}: got no dataset, expected one.')
    if 'sampler' not in loader:
        raise ConfigError(
            f'{name}: got no sampler, expected one, such as '
            "sampler=dict(type='DefaultSampler', shuffle=True)."
        )


def _check_loop(loop: Any) -> None:
    kind = loop.get('type') if isinstance(loop, dict) else None
    counted, other = _COUNTED.get(kind, ('', '')) if isinstance(kind, str) else ('', '')
    if other and other in loop:
        name = next(name for name in _COUNTED if name != kind)
        raise ConfigError(
            f'train_cfg: got {other}={loop[other]} for {kind}, expected {counted}, or '
            f"another loop: train_cfg=dict(_delete_=True, type='{name}', {other}=...)."
        )
