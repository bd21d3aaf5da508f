"""The model and the image of a feature view: loaded strictly, as the config says."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS
from numpy.typing import NDArray
from torch import Tensor, nn

from aerialkd.algorithms import DetectionDistill
from aerialkd.datasets import images
from aerialkd.engine import (
    Weights,
    load_strictly,
    load_weights,
    read_checkpoint,
    student_model_cfg,
)
from aerialkd.engine.evaluate import check_device
from aerialkd.errors import CheckpointError, ConfigError
from aerialkd.loading import file_of
from aerialkd.loading.download import is_url

Instances = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class InputImage:
    """An image as the model is given it.

    Attributes:
        picture: resized and padded, (h, w, 3), BGR.
        inputs: normalised, (1, C, h, w).
        samples: its data sample, in a list.
        annotated: whether the sample has ground truth, in pixels of ``picture``.
    """

    picture: NDArray[np.uint8]
    inputs: Tensor
    samples: list[Any]
    annotated: bool


def load_model(
    cfg: Config,
    checkpoint: str | Path | None,
    teacher_checkpoint: str | Path | None,
    device: str,
) -> nn.Module:
    """Build the detector or the distillation of a config, in evaluation mode.

    Without ``checkpoint`` the student keeps the weights that it was built with.

    Raises:
        ConfigError: if the device, the distiller or the teacher's file does not exist.
        CheckpointError: if the checkpoint does not fit.
        TeacherError: if the teacher's does not fit.
    """
    check_device(device)
    weights = None if checkpoint is None else load_weights(checkpoint)
    plain = student_model_cfg(cfg)
    distills = 'architecture' in cfg.model
    # A copy: detectors hand their train_cfg on by writing into the config.
    model_cfg = copy.deepcopy(cfg.model if distills else plain)
    if distills:
        _check_distillation(cfg, teacher_checkpoint)
        if teacher_checkpoint is not None:
            model_cfg.teacher_ckpt = str(teacher_checkpoint)
    elif teacher_checkpoint is not None:
        raise ConfigError(
            f'teacher checkpoint: got {teacher_checkpoint}, but {_name(cfg)} distils '
            'nothing; leave it out, or name the config of the distillation.'
        )
    model: Any = MODELS.build(model_cfg)
    if distills and not isinstance(model, DetectionDistill):
        raise ConfigError(
            f'{_name(cfg)}: model.type: got {type(model).__name__}, expected '
            'aerialkd.DetectionDistill, whose recorders hold the features.'
        )
    if weights is not None and checkpoint is not None:
        _load(
            model.student if distills else model,
            weights,
            'Name the config that this checkpoint was trained with',
        )
        if distills:
            _load(
                model.distiller,
                _connector_weights(checkpoint),
                'Connectors are trained with the student: name a checkpoint of the '
                'distilled run and its config',
            )
    return model.to(device).eval()


def check_image(path: str | Path) -> None:
    """Refuse what cannot be decoded, before anything is loaded.

    Raises:
        ConfigError: if there is no such file.
        AnnotationError: if it is not a readable image.
    """
    if not Path(path).is_file():
        raise ConfigError(f'{path}: no such image file.')
    images.check_image(path)


def read_image(
    cfg: Config, path: str | Path, model: Any, instances: Instances | None = None
) -> InputImage:
    """Take an image through the test pipeline and the model's preprocessor.

    It is resized for the teacher where that sees it at another scale.

    Args:
        cfg: config with ``test_dataloader.dataset.pipeline``.
        path: the image.
        model: its preprocessor is used.
        instances: ground truth in pixels of the image file.
    """
    info: dict[str, Any] = dict(img_path=str(path), img_id=0)
    if instances is not None:
        info['instances'] = copy.deepcopy(list(instances))
    packed = Compose(_pipeline(cfg, getattr(model, 'teacher_scale', 1.0)))(info)
    raw = packed['inputs'].numpy()
    data = model.data_preprocessor(pseudo_collate([packed]), False)
    height, width = data['inputs'].shape[-2:]
    pixels = raw[[0, 1, 2] if len(raw) > 2 else [0, 0, 0]].transpose(1, 2, 0)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: raw.shape[1], : raw.shape[2]] = pixels.round().clip(0, 255)
    annotated = 'bboxes' in data['data_samples'][0].gt_instances
    return InputImage(
        picture,
        data['inputs'],
        data['data_samples'],
        instances is not None and annotated,
    )


def known_instances(
    cfg: Config, path: str | Path
) -> tuple[Instances | None, str | None]:
    """Ground truth of a test or training image; None and the reason without."""
    reason = (
        'the image is in neither the test nor the training data, its ground truth is '
        'not known'
    )
    wanted = Path(path).resolve()
    for kind in ('test', 'train'):
        loader = cfg.get(f'{kind}_dataloader')
        if loader is None:
            continue
        settings = copy.deepcopy(_unwrapped(loader.dataset))
        settings.update(pipeline=[], filter_cfg=None)
        try:
            dataset = DATASETS.build(settings)
            infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        except (OSError, ValueError) as error:  # as data sets raise them
            message = ' '.join(str(error).split())
            reason = f'the {kind} data cannot be read: {message}'
            continue
        for info in infos:
            if Path(info['img_path']).resolve() == wanted and 'instances' in info:
                return info['instances'], None
    return None, reason


def _pipeline(cfg: Config, scale: float) -> list[dict]:
    """The test pipeline, with annotations loaded before the image is resized.

    Test pipelines load them behind it, as evaluation wants them in pixels of the
    file; losses want them in pixels of the input.
    """
    dataset = _unwrapped(_test_dataset(cfg))
    steps = copy.deepcopy(list(dataset.pipeline))
    early = ('LoadAnnotations', 'ConvertBoxType')
    loading = [step for step in steps if step['type'].endswith(early)]
    others = [step for step in steps if step not in loading]
    if scale != 1:
        others = _zoomed(others, scale)
    return [*others[:1], *loading, *others[1:]]


def _zoomed(steps: list[dict], scale: float) -> list[dict]:
    """A pipeline that makes images ``scale`` times as large."""
    resizing = [step for step in steps if {'scale', 'scale_factor'} & set(step)]
    if not resizing:
        return [*steps[:1], dict(type='mmdet.Resize', scale_factor=scale), *steps[1:]]
    for step in resizing:
        for key, whole in (('scale', True), ('scale_factor', False)):
            if step.get(key) is not None:
                sides = np.multiply(step[key], scale)
                sides = sides.round().astype(int) if whole else sides
                step[key] = tuple(sides.tolist()) if sides.ndim else sides.item()
    return steps


def _unwrapped(dataset: Any) -> Any:
    """The data set in wrappers, which have data sets instead of files."""
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.dataset if 'dataset' in dataset else dataset.datasets[0]
    return dataset


def _test_dataset(cfg: Config) -> Any:
    dataset = (cfg.get('test_dataloader') or {}).get('dataset')
    if dataset is None:
        raise ConfigError(
            f'{_name(cfg)}: got no test_dataloader.dataset, expected one whose '
            'pipeline loads and resizes an image.'
        )
    return dataset


def _check_distillation(cfg: Config, teacher_checkpoint: str | Path | None) -> None:
    if 'distiller' not in cfg.model:
        raise ConfigError(
            f'{_name(cfg)}: got no model.distiller, expected one that says which '
            'features are compared; name the config of a method.'
        )
    file = teacher_checkpoint or cfg.model.get('teacher_ckpt')
    if file is None or not (is_url(str(file)) or file_of(file).is_file()):
        raise ConfigError(
            f"teacher checkpoint: got {file}, expected the file of the teacher's "
            'weights; set model.teacher_ckpt or give --teacher-checkpoint.'
        )


def _load(module: nn.Module, weights: Weights, remedy: str) -> None:
    try:
        load_strictly(module, weights)
    except CheckpointError as error:
        raise CheckpointError(f'{error}. {remedy}.') from error


def _connector_weights(checkpoint: str | Path) -> Weights:
    """What was trained with the student and is no part of it."""
    state: dict[str, Tensor] = {}
    content = read_checkpoint(checkpoint)
    for key, value in content.get('state_dict', content).items():
        own = key.removeprefix('module.')
        if own.startswith('distiller.'):
            state[own.removeprefix('distiller.')] = value
    return Weights(str(checkpoint), state, None)


def _name(cfg: Config) -> str:
    return str(cfg.filename or 'config')
