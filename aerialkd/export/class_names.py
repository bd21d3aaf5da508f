"""Class names of a detector's outputs and the colours they are drawn in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from aerialkd.datasets.class_lists import palette_for
from aerialkd.engine.weights import Weights
from aerialkd.errors import ConfigError
from aerialkd.export.plain_config import find_components, scope_of

LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


def output_metainfo(
    cfg: Config, weights: Weights, detector: Any, given: Sequence[str] | None = None
) -> dict[str, Any]:
    """``classes`` and ``palette`` of a detector.

    Args:
        cfg: its config, whose data set may name the classes.
        weights: its weights, which come first: they say what it was trained on.
        detector: tells how many classes there must be.
        given: names that the user states, which override both.

    Raises:
        ConfigError: if nothing names the classes, or the number is wrong.
    """
    known = dataset_metainfo(cfg)
    sources = {
        '--classes': given,
        str(weights.path): weights.classes,
        f'the data set of {cfg.filename}': known.get('classes'),
    }
    origin = next((name for name, classes in sources.items() if classes), None)
    if origin is None:
        raise ConfigError(
            f'Neither {weights.path} nor the data set of {cfg.filename} names the '
            'classes. Name them in the order of the outputs: --classes car van ...'
        )
    classes = tuple(str(name) for name in sources[origin] or ())
    expected = number_of_classes(detector)
    if expected not in (None, len(classes)):
        raise ConfigError(
            f'The student predicts {expected} classes, but {origin} names '
            f'{len(classes)}: {", ".join(classes)}. Name them all, in the order of the '
            'outputs: --classes car van ...'
        )
    return dict(classes=classes, palette=palette_for(classes, known))


def number_of_classes(detector: Any) -> int | None:
    """How many classes the head predicts; None where it does not say."""
    for head in (detector, getattr(detector, 'roi_head', None)):
        box_head = getattr(head, 'bbox_head', None)
        if hasattr(box_head, 'num_classes'):
            return int(box_head.num_classes)  # type: ignore[union-attr]
    return None


def dataset_metainfo(cfg: Config) -> dict[str, Any]:
    """Class names and colours of a config's data set; empty where it states none."""
    for loader in LOADERS:
        dataset = (cfg.get(loader) or {}).get('dataset')
        while dataset and ('dataset' in dataset or 'datasets' in dataset):
            dataset = dataset.get('dataset') or dataset['datasets'][0]
        if not dataset:
            continue
        with DefaultScope.overwrite_default_scope(scope_of(cfg)):
            found = list(find_components(dataset['type'], [DATASETS]))
        known = _known_metainfo(found[0], dataset) if found else {}
        stated = dict(dataset.get('metainfo') or {})
        if 'palette' not in stated and 'classes' in stated:  # may be a subset
            stated['palette'] = palette_for(stated['classes'], known)
        if (stated or known).get('classes'):
            return {**known, **stated}
    return {}


def _known_metainfo(component: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a data set's class says of its classes, which may depend on its options."""
    known_metainfo = getattr(component, 'known_metainfo', None)
    if known_metainfo is not None:
        return dict(known_metainfo(options))
    return dict(getattr(component, 'METAINFO', {}))
