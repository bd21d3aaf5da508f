"""A config for the student alone, which mmdet or mmrotate reads without aerialkd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS, DefaultScope

from aerialkd.engine.model_cfg import student_model_cfg
from aerialkd.errors import ConfigError
from aerialkd.registry import find_components, scope_of

# mmrazor does not import on a current torch unless aerialkd adapts it.
OURS = {'aerialkd', 'mmrazor'}
_SCOPES = {'mmdet', 'mmrotate', *OURS}
LOADERS = ('test_dataloader', 'val_dataloader')


def plain_config(cfg: Config, metainfo: dict[str, Any]) -> Config:
    """Config of the student as those that run detectors read it.

    Model, test pipeline and classes are where ``mmdet.apis`` and MMDeploy look for
    them, and ``train_dataloader`` is there for SAHI, which asks it for masks. Nothing
    in it starts a download or reads a data set. What is registered outside MMEngine,
    MMCV, MMDetection and MMRotate keeps its ``custom_imports``.

    Args:
        cfg: config of a distillation or of a plain detector.
        metainfo: ``classes`` and ``palette``.

    Raises:
        ConfigError: if the config has no model or no test pipeline.
    """
    scope = scope_of(cfg)
    with DefaultScope.overwrite_default_scope(scope):
        bare = 'mmdet' if scope == 'mmdet' else ''
        student = _without_initialisation(student_model_cfg(cfg).to_dict())
        model, pipeline = _scoped([student, _inference_pipeline(cfg)], bare)
    dataset = dict(
        # Only classes, colours and the pipeline are read; lazy_init keeps it so.
        type='mmdet.BaseDetDataset',
        lazy_init=True,
        test_mode=True,
        metainfo=metainfo,
        pipeline=pipeline,
    )
    loader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dataset,
    )
    visualizer = 'mmrotate.RotLocal' if scope == 'mmrotate' else 'mmdet.DetLocal'
    plain = dict(
        default_scope=scope,
        model=model,
        metainfo=metainfo,
        test_pipeline=pipeline,
        test_dataloader=loader,
        # MMEngine's runner wants the three together, should it test this detector.
        train_dataloader=loader,
        train_cfg=dict(),
        optim_wrapper=dict(),
        visualizer=dict(
            type=f'{visualizer}Visualizer',
            name='visualizer',
            vis_backends=[dict(type='LocalVisBackend')],
        ),
    )
    imports = _needed_imports(cfg, [model, pipeline], scope)
    if imports:
        plain['custom_imports'] = dict(imports=imports, allow_failed_imports=False)
    return Config(plain)


def _without_initialisation(cfg: Any) -> Any:
    """Drop what initialises weights: they are loaded, and it may download."""
    if isinstance(cfg, dict):
        kept = {k: v for k, v in cfg.items() if k not in ('init_cfg', 'pretrained')}
        return {key: _without_initialisation(value) for key, value in kept.items()}
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(_without_initialisation(item) for item in cfg)
    return cfg


def _scoped(cfg: Any, bare: str) -> Any:
    """Name components with their scope, what they are equivalent to where it is ours.

    The default scope would be the place to look for them, but ``DetInferencer`` sets
    its own, mmdet. Names of that stay bare in a config of it: MMDeploy compares them.

    Args:
        cfg: nested.
        bare: scope whose names need none.
    """
    if isinstance(cfg, dict):
        # The scope of a model that another file holds.
        with DefaultScope.overwrite_default_scope(cfg.get('_scope_')):
            kept = {k: _scoped(v, bare) for k, v in cfg.items() if k != '_scope_'}
            if isinstance(kept.get('type'), str):
                kept['type'] = _scoped_name(kept['type'], bare)
        return kept
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(_scoped(item, bare) for item in cfg)
    return cfg


def _scoped_name(name: str, bare: str) -> str:
    registries = [MODELS, TASK_UTILS, TRANSFORMS]
    for component in find_components(name, registries):
        if hasattr(component, 'equivalent'):
            return str(component.equivalent)
        scope = component.__module__.partition('.')[0]
        prefix, _, short = name.rpartition('.')
        if scope in _SCOPES:
            better = name if prefix or scope == bare else f'{scope}.{name}'
        else:
            # MMCV's are found from every scope; as mmdet's not from that of mmdet.
            better = short if prefix in _SCOPES else name
        if component in find_components(better, registries):
            return better
    return name


def _inference_pipeline(cfg: Config) -> list[dict]:
    """The test pipeline without its steps on ground truth, which an image lacks."""
    loader = next((name for name in LOADERS if cfg.get(name)), None)
    if loader is None:
        raise ConfigError(
            f'{cfg.filename}: has neither test_dataloader nor val_dataloader, so that '
            'nothing says how images are resized. Add the data set that the student '
            'was trained on.'
        )
    dataset = ConfigDict(test_dataloader=ConfigDict(dataset=cfg[loader].dataset))
    try:
        pipeline = get_test_pipeline_cfg(dataset)
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(f'{cfg.filename}: {loader} has no pipeline.') from error
    steps = [step.to_dict() for step in pipeline]
    steps = [step for step in steps if not _is_for_annotations(step['type'])]
    for step in steps:
        if 'meta_keys' in step:
            step['meta_keys'] = [k for k in step['meta_keys'] if k != 'instances']
    return steps


def _is_for_annotations(transform: str | type) -> bool:
    name = transform if isinstance(transform, str) else transform.__name__
    return 'Annotations' in name or name.endswith('ConvertBoxType')


def _needed_imports(cfg: Config, parts: list[Any], scope: str) -> list[str]:
    """Modules that have to be imported before the parts can be built."""
    registries = [MODELS, TASK_UTILS, TRANSFORMS]
    with DefaultScope.overwrite_default_scope(scope):
        found = [c for name in _types(parts) for c in find_components(name, registries)]
    packages = {component.__module__.partition('.')[0] for component in found}
    stated = (cfg.get('custom_imports') or {}).get('imports') or []
    modules = [stated] if isinstance(stated, str) else list(stated)
    kept = [name for name in modules if name.partition('.')[0] in packages - OURS]
    return [*kept, 'aerialkd'] if packages & OURS or scope in OURS else kept


def _types(cfg: Any) -> Iterator[str | type]:
    """Every ``type`` in a nested config."""
    if isinstance(cfg, dict):
        if 'type' in cfg:
            yield cfg['type']
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for item in cfg:
            yield from _types(item)
