"""Testing on images whose annotations nobody has: result files, and no measures."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, METRICS, DefaultScope

from aerialkd.datasets.metainfo import innermost
from aerialkd.datasets.native import NativeDataset
from aerialkd.errors import ConfigError
from aerialkd.registry import find_components, scope_of


def write_files_only(cfg: Config, prefix: str) -> None:
    """Let a test write result files, for which it reads no annotations.

    Args:
        cfg: a config; changed in place. Of its test data, those in a native layout are
            read without annotations; the others as they are.
        prefix: of the files, as each metric of the config names them.

    Raises:
        ConfigError: if there are no test data, or a metric writes no files.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset')
    evaluator = cfg.get('test_evaluator')
    if not dataset or not evaluator:
        raise ConfigError(
            f'{cfg.filename}: got no test_dataloader or no test_evaluator, expected '
            'both; add the images to test, and the metric that writes the files.'
        )
    if not Path(prefix).name:
        raise ConfigError(
            f'format_only: got {prefix!r}, expected the beginning of names of files, '
            "such as 'results/test'."
        )
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        for part in innermost(dataset):
            _leave_annotations_out(part)
        cfg.test_evaluator = [
            _writing(metric, prefix) for metric in _metrics(evaluator)
        ]


def _leave_annotations_out(dataset: Any) -> None:
    for component in find_components(dataset['type'], [DATASETS]):
        if issubclass(component, NativeDataset):
            folders = dataset.get('data_prefix') or component.DEFAULT_PREFIX
            dataset['data_prefix'] = {**folders, 'ann_path': None}
            dataset['test_mode'] = True


def _metrics(evaluator: Any) -> list[Any]:
    """Those of an evaluator, which may be one, a list, or an ``Evaluator`` of some."""
    if isinstance(evaluator, Mapping):
        evaluator = evaluator.get('metrics', evaluator)
    return [evaluator] if isinstance(evaluator, Mapping) else list(evaluator)


def _writing(metric: Mapping[str, Any], prefix: str) -> ConfigDict:
    for component in find_components(metric['type'], [METRICS]):
        options = inspect.signature(component).parameters
        if not {'format_only', 'outfile_prefix'} <= options.keys():
            raise ConfigError(
                f'test_evaluator: got {component.__name__}, which writes no result '
                'files, expected metrics that do, such as aerialkd.VisDroneMetric or '
                'aerialkd.RotatedMetric; leave it out.'
            )
    changed = ConfigDict({**metric, 'format_only': True, 'outfile_prefix': prefix})
    if changed.get('merging'):
        # Detections of tiles are merged all the same, but not compared.
        changed.merging = {k: v for k, v in changed.merging.items() if k != 'scenes'}
    return changed
