"""What metrics check of their options and of the labels that they are given."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray

from aerialkd.errors import ConfigError


def check_format_only(
    metric: BaseMetric, format_only: bool, outfile_prefix: str | None
) -> None:
    """Files that are to be written need a place.

    Raises:
        ConfigError: if there is none.
    """
    if format_only and outfile_prefix is None:
        raise ConfigError(
            f'{type(metric).__name__}.format_only: got no outfile_prefix, expected one '
            'to write to; set it.'
        )


def class_names(metric: BaseMetric) -> Sequence[str]:
    """Class names of the data set that a metric measures.

    Raises:
        ConfigError: if it was not given any.
    """
    if not metric.dataset_meta or 'classes' not in metric.dataset_meta:
        raise ConfigError(
            f'{type(metric).__name__}: got no class names, expected '
            'dataset_meta["classes"]; a data set gives them to its evaluator, '
            'otherwise set metric.dataset_meta.'
        )
    classes: Sequence[str] = metric.dataset_meta['classes']
    return classes


def check_labels(metric: BaseMetric, labels: NDArray) -> None:
    """Detections must be of the data set's classes.

    Raises:
        ConfigError: if one is not.
    """
    num_classes = len(class_names(metric))
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ConfigError(
            f'{type(metric).__name__}: got a detection of label {labels.max()}, '
            f'expected 0..{num_classes - 1}; set num_classes of the bbox_head to '
            f'{num_classes}, the number of classes of the data set.'
        )
