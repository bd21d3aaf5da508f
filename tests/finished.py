"""Work dirs with kept evaluations: what a training leaves, without any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config

from aerialkd.cli import read_config
from aerialkd.datasets.visdrone import VisDroneDataset
from aerialkd.engine.evaluated import EvaluatedImage, EvaluatedRun
from aerialkd.engine.evaluated_cache import keep, key_of
from aerialkd.engine.variants import WHOLE, Variant

CLASSES = VisDroneDataset.METAINFO['classes']
CAR, MOTOR = CLASSES.index('car'), CLASSES.index('motor')
Box = tuple[float, float, float, float]


def measured(ap: float = 0.1) -> dict[str, float]:
    """What VisDroneMetric returns; ``ap`` is AP at 500, no object is large."""
    names = ('AP', 'AP50', 'AP75', 'AP_S', 'AP_M', 'AR', 'AR_S', 'AR_M')
    metrics = {f'visdrone/{k}_at_500': ap * (1 + i) for i, k in enumerate(names)}
    metrics |= {'visdrone/AP_L_at_500': -1.0, 'visdrone/AR_L_at_500': -1.0}
    halves = {
        k.replace('_500', '_100'): v / 2 if v > 0 else v for k, v in metrics.items()
    }
    return halves | metrics


def evaluation(
    metrics: Mapping[str, float],
    truth: Sequence[tuple[Box, int]] = (),
    found: Sequence[tuple[Box, int]] = (),
) -> EvaluatedRun:
    """Of one image; ``found`` by falling score."""
    image = EvaluatedImage(
        path='a.jpg',
        size=(400, 300),
        gt_boxes=np.array([box for box, _ in truth], float).reshape(-1, 4),
        gt_labels=np.array([label for _, label in truth], np.int64),
        gt_ignored=np.zeros(len(truth), bool),
        boxes=np.array([box for box, _ in found], float).reshape(-1, 4),
        labels=np.array([label for _, label in found], np.int64),
        scores=np.linspace(0.9, 0.1, len(found)),
    )
    return EvaluatedRun(
        metrics=dict(metrics),
        images=(image,),
        classes=CLASSES,
        ignored_regions=True,
        max_dets=500,
        parameters=1_500_000,
        flops=4_000_000_000,
        input_size=(64, 96),
        images_per_second=40.0,
        threads=2,
        device='cpu',
    )


def write_work_dir(
    folder: Path,
    cfg: Config,
    run: EvaluatedRun,
    others: Mapping[Variant, EvaluatedRun] | None = None,
) -> Path:
    """A dumped config, a checkpoint file and kept evaluations, of variants too."""
    folder.mkdir(parents=True)
    cfg.dump(folder / 'config.py')
    checkpoint = folder / 'epoch_1.pth'
    checkpoint.write_bytes(b'never read')
    cfg = read_config(folder / 'config.py')
    for variant, evaluated in {WHOLE: run, **(others or {})}.items():
        place = folder if variant is WHOLE else folder / 'variants' / variant.folder
        keep(evaluated, key_of(variant.of(cfg), checkpoint, 'cpu'), place)
    return folder
