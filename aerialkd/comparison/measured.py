"""Finished trainings as results: measures, time, how and where it was measured."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

import torch
from mmengine.config import Config

from aerialkd.comparison.results import Result
from aerialkd.comparison.trainings import last_checkpoint
from aerialkd.datasets.data_digest import data_digest
from aerialkd.engine.evaluated import EvaluatedRun, evaluated_run
from aerialkd.engine.evaluated_cache import NUMBERS
from aerialkd.engine.machine import machine
from aerialkd.engine.noted_inputs import DATA, read_inputs
from aerialkd.engine.stored_settings import DECISIVE, LOADING
from aerialkd.files import sha256_of
from aerialkd.loading import file_of
from aerialkd.version import __version__
from aerialkd.visualization.report.logs import read_logs
from aerialkd.visualization.report.measures import common_measures
from aerialkd.visualization.report.runs import plain


def measured(pair: str, method: str, cfg: Config) -> Result:
    """Evaluate a finished training, unless that was kept in its work dir.

    Args:
        pair: name of teacher and student.
        method: name of the row.
        cfg: of :func:`aerialkd.comparison.trainings.seeded`.

    Raises:
        ConfigError: if the test data cannot be read.
        CheckpointError: if the checkpoint does not fit.
    """
    work_dir, checkpoint = Path(cfg.work_dir), last_checkpoint(cfg)
    run = evaluated_run(cfg, checkpoint, cache=work_dir)
    common = common_measures(run.metrics)
    costs = dict(
        epochs=cfg.train_cfg.max_epochs,
        parameters=run.parameters,
        flops=run.flops,
        images_per_second=run.images_per_second,
    )
    minutes = read_logs(work_dir).minutes
    if minutes:  # neither unknown nor none
        costs['minutes'] = minutes
    origin = dict(
        data=_data(cfg, run),
        config=digest(cfg),
        checkpoint=str(checkpoint),
        machine=machine(run.device, run.threads),
        torch=torch.__version__,
        aerialkd=__version__,
        date=_day(work_dir / NUMBERS),
        note=common.note,
        **_digests(cfg, checkpoint),
    )
    return Result(pair, method, cfg.randomness.seed, common.values, costs, origin)


def digest(cfg: Config) -> str:
    """Twelve digits that are the same for trainings that differ in their seeds."""
    content = {key: plain(cfg.get(key)) for key in DECISIVE if key != 'randomness'}
    for key in LOADING:
        content['train_dataloader'].pop(key, None)
    model = content['model']
    if model.get('teacher_ckpt'):
        model['teacher_ckpt'] = file_of(model['teacher_ckpt']).name
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _digests(cfg: Config, checkpoint: Path) -> dict[str, str]:
    """Digests of files; nothing of those that are not here, or were not noted."""
    noted = (read_inputs(cfg.work_dir) or [{}])[-1]
    parts = cfg.get('test_dataloader'), cfg.get('test_evaluator')
    found = {
        'test_data': data_digest(*parts),
        'train_data': noted.get(DATA, ''),
        'checkpoint': sha256_of(checkpoint),
        'teacher': noted.get('model.teacher_ckpt', ''),
    }
    return {f'{key}_sha256': value for key, value in found.items() if value}


def _data(cfg: Config, run: EvaluatedRun) -> str:
    dataset = cfg.test_dataloader.dataset
    kind = str(dataset.type).rpartition('.')[2]
    boxes = sum(len(image.gt_boxes) for image in run.images)
    root = str(dataset.get('data_root') or '').rstrip('/')
    return f'{kind} {root}: {len(run.images)} images, {boxes} boxes'


def _day(file: Path) -> str:
    return f'{datetime.fromtimestamp(file.stat().st_mtime).astimezone():%Y-%m-%d}'
