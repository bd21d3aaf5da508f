"""From a file of Ultralytics' weights to a checkpoint of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from aerialkd.datasets.metainfo import dataset_metainfo
from aerialkd.detectors.yolov8.convert import convert_ultralytics_state_dict
from aerialkd.engine import load_strictly, load_weights, student_model_cfg
from aerialkd.engine.staging import refuse_existing, staging
from aerialkd.engine.weights import Weights
from aerialkd.errors import CheckpointError, CheckpointRefused, ConfigError
from aerialkd.export.class_names import number_of_classes
from aerialkd.loading import file_of, read_checkpoint
from aerialkd.registry import scope_of

PLAIN = (
    'A checkpoint of Ultralytics holds the pickled model, which is code and is not '
    'run here unless --trust-checkpoint is given and Ultralytics installed. Save its '
    'weights alone where it is: '
    'import torch; from ultralytics import YOLO; '
    "torch.save(YOLO('best.pt').model.float().state_dict(), 'plain.pt')"
)


def convert_checkpoint(
    source: str | Path, out: str | Path, cfg: Config | None = None, force: bool = False
) -> str:
    """Write Ultralytics' weights as ``load_from`` and ``teacher_ckpt`` take them.

    Args:
        source: plain state dict, ``.pt``, ``.pth`` or ``.safetensors``.
        out: file to write, ending in ``.pth``.
        cfg: config of the detector: the weights must fit it, and its data set gives
            the class names that are written beside them.
        force: replace an existing file.

    Returns:
        What was written, in one line.

    Raises:
        CheckpointError: if the file holds more than weights, or others.
        ConfigError: if the file exists, or the config names other classes.
    """
    out = Path(out)
    if out.suffix != '.pth':
        raise ConfigError(f'{out}: the file to write must end in .pth.')
    if out.exists() and out.resolve() == file_of(source).resolve():
        raise ConfigError(f'{out}: is read here, choose another file to write.')
    refuse_existing([out], force)
    given = _read(source)
    try:
        state = convert_ultralytics_state_dict(given)
    except CheckpointError as error:
        raise CheckpointError(f'{source}: {error}') from error
    metainfo = {} if cfg is None else _check(cfg, Weights(str(source), state, None))
    with staging([out], force) as folder:
        meta = dict(dataset_meta=metainfo) if metainfo else {}
        torch.save(dict(state_dict=state, meta=meta), folder / out.name)
    classes = metainfo.get('classes')
    named = f'classes {", ".join(classes)}' if classes else 'without class names'
    return f'{out}: {len(state)} tensors, {named}'


def _read(source: str | Path) -> dict[str, torch.Tensor]:
    try:
        content = read_checkpoint(source)
    except CheckpointRefused as error:
        refused, _, _ = str(error).partition('. ')
        raise CheckpointRefused(f'{refused}. {PLAIN}') from error
    # Unpickled in full: the averaged model, where there is one, is the better one.
    for model in (content.get('ema'), content.get('model')):
        if isinstance(model, torch.nn.Module):
            return model.float().state_dict()
    return load_weights(source).state_dict


def _check(cfg: Config, weights: Weights) -> dict[str, Any]:
    """Load the weights strictly into the config's detector; its classes and colours."""
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        detector = MODELS.build(student_model_cfg(cfg))
    load_strictly(detector, weights)
    known = dataset_metainfo(cfg)
    classes = tuple(known.get('classes') or ())
    if classes and len(classes) != number_of_classes(detector):
        raise ConfigError(
            f'{cfg.filename}: the detector predicts {number_of_classes(detector)} '
            f'classes, but the data set names {len(classes)}: {", ".join(classes)}. '
            'Correct bbox_head.num_classes or metainfo.classes.'
        )
    return {key: known[key] for key in ('classes', 'palette') if classes}
