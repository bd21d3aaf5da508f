"""What a config says of the classes of its data, before any of it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmdet.visualization.palette import get_palette
from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS, DefaultScope

from aerialkd.errors import ConfigError
from aerialkd.registry import find_components, scope_of

LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


def dataset_metainfo(cfg: Config) -> dict[str, Any]:
    """Class names and colours of a config's data set; empty where it states none."""
    for loader in LOADERS:
        for metainfo in loader_metainfo(cfg, loader):
            if metainfo.get('classes'):
                return metainfo
    return {}


def loader_metainfo(cfg: Config, loader: str) -> Iterator[dict[str, Any]]:
    """Metainfo of each data set of a loader, as its class and its options state it.

    Args:
        cfg: a config.
        loader: ``'train_dataloader'`` and so on; the config may lack it.

    Raises:
        ConfigError: if ``metainfo.classes`` is one string and no file of names.
    """
    for dataset in innermost((cfg.get(loader) or {}).get('dataset')):
        with DefaultScope.overwrite_default_scope(scope_of(cfg)):
            found = list(find_components(dataset['type'], [DATASETS]))
        known = _known_metainfo(found[0], dataset) if found else {}
        stated = dict(dataset.get('metainfo') or {})
        if isinstance(stated.get('classes'), str):
            stated['classes'] = _names_in(stated['classes'], loader)
        if 'palette' not in stated and 'classes' in stated:  # may be a subset
            stated['palette'] = palette_for(stated['classes'], known)
        yield {**known, **stated}


def palette_for(
    classes: Sequence[str], known: Mapping[str, Any]
) -> list[tuple[int, ...]]:
    """A colour for each class: the data set's where it knows the name.

    A list on purpose: mmdet takes a tuple for the one colour of all classes.
    """
    palette = known.get('palette')
    colours = [] if palette is None or isinstance(palette, str) else palette
    by_name = dict(zip(known.get('classes') or (), colours, strict=False))
    others = get_palette('random', len(classes))  # drawn from a fixed seed
    pairs = zip(classes, others, strict=True)
    return [tuple(int(v) for v in by_name.get(name, other)) for name, other in pairs]


def innermost(dataset: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Data sets without what repeats, mixes or concatenates them."""
    if not dataset:
        return
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets')
    if inner is None:
        yield dataset
        return
    for part in inner:
        yield from innermost(part)


def _known_metainfo(component: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a data set's class says of its classes, which may depend on its options."""
    known_metainfo = getattr(component, 'known_metainfo', None)
    if known_metainfo is not None:
        return dict(known_metainfo(options))
    return dict(getattr(component, 'METAINFO', {}))


def _names_in(classes: str, loader: str) -> tuple[str, ...]:
    """MMEngine reads the names from a file of that name."""
    if not os.path.isfile(classes):
        raise ConfigError(
            f'{loader}: metainfo.classes: got the text {classes!r}, expected a tuple '
            f"of names or a file with one name a line; for one class write ('{classes}"
            "',), with the comma."
        )
    return tuple(list_from_file(classes))
