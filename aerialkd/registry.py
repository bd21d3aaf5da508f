"""Registries of the package: children of MMEngine's, scope ``aerialkd``.

A config names our components with the scope (``type='aerialkd.PKDLoss'``), so
that they work under any ``default_scope`` (``mmdet``, ``mmrotate``).
"""

import inspect
from typing import Any

from mmengine import registry as _root
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

__all__ = ['DATASETS', 'HOOKS', 'METRICS', 'MODELS', 'TASK_UTILS', 'TRANSFORMS']
