"""Class names of a detector's outputs and the colours they are drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from aerialkd.datasets.metainfo import dataset_metainfo, palette_for
from aerialkd.engine.weights import Weights
from aerialkd.errors import ConfigError


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
