"""Registries of the package: children of MMEngine's, scope ``aerialkd``.

A config names our components with the scope (``type='aerialkd.PKDLoss'``), so
that they work under any ``default_scope`` (``mmdet``, ``mmrotate``).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine import registry as _root
from mmengine.config import Config
from mmengine.registry import Registry

from aerialkd.arguments import check_when_built


class CheckedRegistry(Registry):
    """Its classes of this package check their arguments, see :mod:`.arguments`."""

    def _register_module(self, module: Any, *args: Any, **kwargs: Any) -> None:
        if inspect.isclass(module):
            check_when_built(module)
        super()._register_module(module, *args, **kwargs)


def _child(parent: Registry, *locations: str) -> Registry:
    return CheckedRegistry(
        parent.name,
        parent=parent,
        scope='aerialkd',
        locations=[f'aerialkd.{location}' for location in locations],
    )


MODELS = _child(
    _root.MODELS, 'algorithms', 'connectors', 'detectors', 'distillers', 'losses'
)
TASK_UTILS = _child(_root.TASK_UTILS, 'detectors', 'recorders')
DATASETS = _child(_root.DATASETS, 'datasets')
TRANSFORMS = _child(_root.TRANSFORMS, 'datasets')
METRICS = _child(_root.METRICS, 'evaluation')
HOOKS = _child(_root.HOOKS, 'engine')

__all__ = [
    'DATASETS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'TASK_UTILS',
    'TRANSFORMS',
    'find_components',
    'scope_of',
]


def scope_of(cfg: Config) -> str:
    """The registry scope in which a config's unprefixed names are looked up."""
    return cfg.get('default_scope') or 'mmdet'


def find_components(name: str | type, registries: Sequence[Registry]) -> Iterator[Any]:
    """What a ``type`` stands for; one name may be in several registries.

    Unprefixed names are looked up in the current default scope.
    """
    if not isinstance(name, str):
        yield name
        return
    for registry in registries:
        with registry.switch_scope_and_registry(None) as scoped:
            component = scoped.get(name)
        if component is not None:
            yield component
