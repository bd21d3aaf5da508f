"""Evaluations kept in a work dir, without pickle: numbers as JSON, boxes as arrays."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from numpy.typing import NDArray

from aerialkd.arguments import describe, fits
from aerialkd.datasets.data_digest import data_digest
from aerialkd.engine.evaluated_types import EvaluatedImage, EvaluatedRun
from aerialkd.engine.model_cfg import student_model_cfg
from aerialkd.engine.staging import staging
from aerialkd.errors import CheckpointError
from aerialkd.evaluation.metric_names import current_names
from aerialkd.files import sha256_of
from aerialkd.loading import file_of

NUMBERS, ARRAYS = 'evaluation.json', 'evaluation.npz'
_VERSION = 3  # of the files' layout and of our measures
# What reading damaged files may raise.
_DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(RecursionError, NotImplementedError, zipfile.BadZipFile, zlib.error),
)
_GROUND_TRUTH = ('gt_boxes', 'gt_labels', 'gt_ignored')
_DIGESTS = ('sha256', 'data')
_DETECTIONS = ('boxes', 'labels', 'scores')


def cached_run(
    cfg: Config, checkpoint: str | Path, folder: str | Path, device: str | None = None
) -> EvaluatedRun | None:
    """What :func:`keep` left in a folder, if it belongs to this very checkpoint.

    Args:
        cfg: a plain or a distillation config.
        checkpoint: its file.
        folder: where ``evaluation.json`` lies.
        device: that it must have been evaluated on; None for any.

    Raises:
        CheckpointError: if the checkpoint does not exist.
    """
    try:
        numbers = json.loads((Path(folder) / NUMBERS).read_text(encoding='utf-8'))
        key = key_of(cfg, checkpoint, device or numbers['run']['device'])
        if not _is_of(key, numbers['key'], folder):
            return None
        with (
            (Path(folder) / ARRAYS).open('rb') as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            # Both files belong together: a crash may have left one of another call.
            if str(arrays['key']) != json.dumps(numbers['key']):
                return None
            return _run_of(numbers, dict(arrays))
    except FileNotFoundError:
        return None
    except _DAMAGED as error:
        print_log(
            f'{Path(folder) / NUMBERS} or {ARRAYS} is damaged and left out: '
            f'{type(error).__name__}: {error}',
            logger='current',
            level=logging.WARNING,
        )
        return None


def keep(run: EvaluatedRun, key: dict[str, Any], folder: str | Path) -> None:
    """Write both files; each appears whole.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    names = [f.name for f in fields(run) if f.name != 'images']
    numbers = {
        'key': key,
        'run': {name: getattr(run, name) for name in names},
        'paths': [image.path for image in run.images],
        'sizes': [image.size for image in run.images],
    }
    targets = [Path(folder) / NUMBERS, Path(folder) / ARRAYS]
    with staging(targets, force=True) as temporary:
        text = json.dumps(numbers, indent=1) + '\n'
        (temporary / NUMBERS).write_text(text, encoding='utf-8')
        arrays: dict[str, Any] = {'key': json.dumps(key), **_arrays(run)}
        np.savez_compressed(temporary / ARRAYS, **arrays)


def key_of(cfg: Config, checkpoint: str | Path, device: str) -> dict[str, Any]:
    """What an evaluation depends on.

    Raises:
        CheckpointError: if the checkpoint does not exist.
    """
    file = file_of(checkpoint)
    if not file.is_file():
        raise CheckpointError(f'{file}: no such checkpoint file.')
    parts = ('test_dataloader', 'test_evaluator', 'test_cfg')
    content = {part: cfg.get(part) for part in parts}
    content['model'] = student_model_cfg(cfg)
    text = json.dumps(content, sort_keys=True, default=str)
    return {
        'version': _VERSION,
        'checkpoint': file.name,
        'size': file.stat().st_size,
        'modified': file.stat().st_mtime_ns,
        'config': hashlib.sha256(text.encode()).hexdigest(),
        'device': device,
        'sha256': sha256_of(file),
        'data': data_digest(cfg.get('test_dataloader'), cfg.get('test_evaluator')),
    }


def _is_of(key: dict[str, Any], kept: dict[str, Any], folder: str | Path) -> bool:
    """Whether what was kept under one key is that of another."""
    if 'data' not in kept:  # as 0.1.0 kept it
        same = kept == {name: key[name] for name in key if name not in _DIGESTS}
        if same:
            print_log(
                f'{folder}: the evaluation that is kept notes no digest of its test '
                'data; taken for one of those that are here.',
                logger='current',
                level=logging.WARNING,
            )
        return same
    if '' in (kept['data'], key['data']):  # what is not here cannot have changed
        kept = {**kept, 'data': key['data']}
    return kept == key


def _arrays(run: EvaluatedRun) -> dict[str, NDArray]:
    """All images' boxes behind each other, and how many each image has."""
    arrays: dict[str, NDArray] = {}
    for group in (_GROUND_TRUTH, _DETECTIONS):
        counts = [len(getattr(image, group[0])) for image in run.images]
        arrays[f'{group[0]}_count'] = np.array(counts, dtype=np.int64)
        for name in group:
            parts = [getattr(image, name) for image in run.images]
            arrays[name] = np.concatenate(parts) if parts else np.zeros(0)
    return arrays


def _run_of(numbers: dict[str, Any], arrays: dict[str, NDArray]) -> EvaluatedRun:
    columns: dict[str, list[NDArray]] = {}
    for group in (_GROUND_TRUTH, _DETECTIONS):
        ends = np.cumsum(arrays[f'{group[0]}_count'])[:-1]
        columns |= {name: np.split(arrays[name], ends) for name in group}
    images = tuple(
        EvaluatedImage(
            path=path,
            size=(size[0], size[1]),
            **{name: parts[index] for name, parts in columns.items()},
        )
        for index, (path, size) in enumerate(
            zip(numbers['paths'], numbers['sizes'], strict=True)
        )
    )
    stored = dict(numbers['run'])
    stored['metrics'] = current_names(stored['metrics'])  # also of 0.1.0
    stored['classes'] = tuple(stored['classes'])
    stored['input_size'] = tuple(stored['input_size'])
    run = EvaluatedRun(images=images, **stored)
    for name, hint in get_type_hints(EvaluatedRun).items():
        if not fits(getattr(run, name), hint):
            raise ValueError(f'{name}: expected {describe(hint)}')
    return run
