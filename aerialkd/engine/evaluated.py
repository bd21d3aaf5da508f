"""A checkpoint, evaluated once: its measures, every image's boxes, what it costs."""

from __future__ import annotations

import copy
import itertools
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from aerialkd.engine.evaluate import build_test_runner, check_device
from aerialkd.engine.evaluated_cache import cached_run, keep, key_of
from aerialkd.engine.evaluated_types import EvaluatedImage, EvaluatedRun
from aerialkd.errors import ConfigError
from aerialkd.evaluation import VisDroneMetric
from aerialkd.evaluation.ground_truth import to_numpy
from aerialkd.evaluation.metric_names import NamedMeasures
from aerialkd.structures.corners import corners

__all__ = ['EvaluatedImage', 'EvaluatedRun', 'cached_run', 'evaluated_run']

_SPEED_IMAGES, _SPEED_REPEATS, _SPEED_SECONDS = 8, 24, 8.0
_names = (f'evaluation_{number}' for number in itertools.count())


def evaluated_run(
    cfg: Config,
    checkpoint: str | Path,
    cache: str | Path | None = None,
    device: str | None = None,
) -> EvaluatedRun:
    """Evaluate a checkpoint on the test data of its config, or read what was kept.

    Args:
        cfg: a plain or a distillation config; not changed.
        checkpoint: ``.pth`` or ``.safetensors`` file.
        cache: folder for ``evaluation.json`` and ``evaluation.npz``; a second call with
            the same checkpoint, model, test data and device reads them.
        device: ``'cpu'``, ``'cuda:0'``, ...; MMEngine's choice by default.

    Raises:
        ConfigError: if the device does not exist, or there is no test data or none
            that can be read.
        CheckpointError: if the checkpoint does not fit.

    Example:
        >>> run = evaluated_run(read_config('work/student.py'), 'work/epoch_12.pth')
        >>> run.metrics['visdrone/AP_at_500'], run.parameters, run.images_per_second
    """
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise ConfigError(
            f'{cfg.filename}: got no test_dataloader and test_evaluator, expected '
            'both; without them a checkpoint cannot be evaluated.'
        )
    device = device or get_device()
    check_device(device)
    if cache is not None:
        kept = cached_run(cfg, checkpoint, cache, device)
        if kept is not None:
            return kept
    key = key_of(cfg, checkpoint, device)
    with tempfile.TemporaryDirectory(prefix='aerialkd-') as folder:
        runner = build_test_runner(_quiet(cfg, folder), str(checkpoint))
        runner.model.to(device)
        collector = _Collector()
        _evaluator(runner).metrics.append(collector)
        found = runner.test().items()
        metrics = NamedMeasures({name: float(value) for name, value in found})
        run = _evaluated(runner, collector.collected, metrics, device)
    if cache is not None:
        keep(run, key, cache)
    return run


class _Collector(BaseMetric):
    """Keeps every image's detections."""

    default_prefix = 'collector'
    collected: Sequence[dict[str, Any]] = ()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            if 'img_path' not in sample:
                raise ConfigError(
                    "test pipeline: got samples without 'img_path'; add it to the "
                    'meta_keys of PackDetInputs.'
                )
            found = sample['pred_instances']
            names = ('bboxes', 'labels', 'scores')
            arrays = {name: to_numpy(found[name]) for name in names}
            height, width = sample['ori_shape'][:2]
            kept = dict(path=sample['img_path'], size=(width, height), **arrays)
            self.results.append(kept)

    def compute_metrics(self, results: list) -> dict[str, float]:
        self.collected = results
        return {}


def _quiet(cfg: Config, folder: str) -> Config:
    """The config as it evaluates without a trace, many times in one process."""
    cfg = copy.deepcopy(cfg)
    name = next(_names)  # mmengine keeps one visualizer and logger of each name
    cfg.update(work_dir=folder, experiment_name=name, log_level='WARNING')
    cfg.launcher = 'none'
    cfg.visualizer = dict(type='mmengine.Visualizer', name=name, vis_backends=[])
    return cfg


def _evaluator(runner: Runner) -> Any:
    """The evaluator of the test loop, which is built here, with its data."""
    try:
        return runner.test_evaluator
    except (OSError, ValueError, RuntimeError) as error:  # as data sets raise them
        reason = ' '.join(str(error).split())
        raise ConfigError(f'test data cannot be read: {reason}') from error


def _evaluated(
    runner: Runner, collected: Sequence[dict], metrics: dict[str, float], device: str
) -> EvaluatedRun:
    dataset = runner.test_dataloader.dataset
    own = [m for m in runner.test_evaluator.metrics if isinstance(m, VisDroneMetric)]
    most = max((len(item['scores']) for item in collected), default=0)
    size, flops = _flops(runner.model, dataset)
    return EvaluatedRun(
        metrics=metrics,
        images=_images(dataset, collected),
        classes=tuple(dataset.metainfo['classes']),
        ignored_regions=bool(own and own[0].ignored_regions),
        max_dets=own[0].max_dets[-1] if own else most,
        parameters=sum(p.numel() for p in runner.model.parameters()),
        flops=flops,
        input_size=size,
        images_per_second=1 / _seconds(runner.model, dataset),
        threads=torch.get_num_threads(),
        device=device,
    )


def _images(dataset: Any, collected: Sequence[dict]) -> tuple[EvaluatedImage, ...]:
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    instances = {info['img_path']: info.get('instances', ()) for info in infos}
    rotated = any(item['bboxes'].shape[-1] in (5, 8) for item in collected)
    images = []
    for item in collected:
        truth = [i for i in instances[item['path']] if len(i['bbox'])]
        order = np.argsort(-item['scores'], kind='stable')
        images.append(
            EvaluatedImage(
                path=item['path'],
                size=item['size'],
                gt_boxes=_of_kind([i['bbox'] for i in truth], rotated),
                gt_labels=np.array([i['bbox_label'] for i in truth], dtype=np.int64),
                gt_ignored=np.array([i.get('ignore_flag', 0) for i in truth], bool),
                boxes=_of_kind(item['bboxes'][order], rotated),
                labels=item['labels'][order].astype(np.int64),
                scores=item['scores'][order].astype(np.float64),
            )
        )
    return tuple(images)


def _of_kind(boxes: Any, rotated: bool) -> NDArray[np.float64]:
    """(n, 8) or (n, 4) corners, whatever the boxes are given as."""
    array = np.asarray(boxes, dtype=np.float64)
    if not array.size:
        return np.zeros((0, 8 if rotated else 4))
    points = corners(array)
    if rotated:
        return points.reshape(-1, 8)
    return np.concatenate([points.min(1), points.max(1)], axis=1)


def _flops(model: Any, dataset: Any) -> tuple[tuple[int, int], int]:
    """Height and width as the network sees the first image, and its operations."""
    counter = FlopCounterMode(display=False)
    model.eval()
    with torch.no_grad(), counter:
        (sample,) = model.test_step(_one_image(dataset, 0))
    info: Mapping[str, Any] = sample.metainfo
    height, width = info.get('batch_input_shape', info['img_shape'])[:2]
    return (int(height), int(width)), int(counter.get_total_flops())


def _seconds(model: Any, dataset: Any) -> float:
    """Median time from an image in memory to its boxes, NMS included."""
    images = [_one_image(dataset, i) for i in range(min(len(dataset), _SPEED_IMAGES))]
    seconds: list[float] = []
    with torch.no_grad():
        for data in images[:2]:  # warm-up
            model.test_step(data)
        for data in itertools.islice(itertools.cycle(images), _SPEED_REPEATS):
            start = time.perf_counter()
            model.test_step(data)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            if sum(seconds) > _SPEED_SECONDS and len(seconds) >= 3:
                break
    return median(seconds)


def _one_image(dataset: Any, index: int) -> Any:
    return pseudo_collate([dataset[index]])
