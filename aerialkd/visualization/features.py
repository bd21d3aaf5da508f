"""Features of student and teacher on an image, and what the losses look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from numpy.typing import NDArray
from torch import Tensor

from aerialkd.algorithms import DetectionDistill
from aerialkd.errors import ConfigError
from aerialkd.registry import scope_of
from aerialkd.visualization.feature_inputs import (
    InputImage,
    Instances,
    check_image,
    known_instances,
    load_model,
    read_image,
)
from aerialkd.visualization.feature_maps import (
    Map,
    activation,
    check_record,
    chosen_pairs,
    difference,
    levels_of,
    loss_maps,
    needing_truth,
)
from aerialkd.visualization.heatmaps import Heat, heat_sheet, percentiles

__all__ = ['FeatureViews', 'LevelView', 'feature_sheet', 'feature_views']

_ACTIVATION = (
    'activation: root mean square over the channels, each standardised over the '
    'picture: how far a cell is from the average cell. Coloured from the 1st to the '
    '99th percentile of the level; the ends stand under each map.'
)
_DIFFERENCE = (
    'difference: root mean square over the channels of student - teacher, both '
    'standardised as PKD does: 0 is equal but for a factor and an offset of each '
    'channel, 1.41 is unrelated.'
)
_LOSSES = (
    'losses: what each loss of the config looks at. Differences and losses are '
    'coloured from 0 to the 99th percentile.'
)


@dataclass(frozen=True)
class LevelView:
    """A pyramid level; maps (H_l, W_l), one value a cell.

    Attributes:
        level: its index in the record.
        stride: pixels of the input a cell, as a power of two.
        student: activation; of the detector itself where nothing is distilled.
        teacher: activation.
        difference: of student and teacher.
        losses: what each loss looks at, by ``'<loss>: <what>'``.
    """

    level: int
    stride: int
    student: Map
    teacher: Map | None = None
    difference: Map | None = None
    losses: dict[str, Map] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureViews:
    """What a detector sees in an image.

    Attributes:
        image: as the model saw it, resized and padded, (h, w, 3), BGR.
        levels: of the pyramid.
        record: name of the recorder, or ``'extract_feat'`` of a plain detector.
        notes: what is not shown, or shown otherwise, and why.
    """

    image: NDArray[np.uint8]
    levels: list[LevelView]
    record: str
    notes: tuple[str, ...] = ()


def feature_views(
    cfg: Config,
    checkpoint: str | Path,
    image_path: str | Path,
    *,
    device: str = 'cpu',
    teacher_checkpoint: str | Path | None = None,
    record: str | None = None,
    instances: Instances | None = None,
) -> FeatureViews:
    """Run a detector, or student and teacher, on an image and keep their features.

    The image goes through the config's test pipeline; models run in evaluation mode,
    without gradients. Of a distillation, the features are those that a loss is given:
    recorded, levels chosen, connectors applied.

    Each channel is standardised over the picture, as PKD does over a batch. The
    activation of a cell is the root mean square over the channels, how far it is from
    the average cell; raw features are ruled by the channels with the largest offset.
    The difference of a cell is the root mean square over the channels of student -
    teacher: a factor or an offset of a channel is no difference, and features that
    have nothing to do with each other differ by 1.41. Where the sizes differ the
    student's map is resized. Where the numbers of channels differ and no connector
    makes them equal, it is the absolute difference of the activations, each divided by
    its mean; ``notes`` say so. A map of a single cell has nothing to be compared with
    and is 0.

    Args:
        cfg: a plain or a distillation config; not changed.
        checkpoint: of the detector, or of the distilled run with its connectors.
        image_path: the image.
        device: ``'cpu'``, ``'cuda:0'``, ...
        teacher_checkpoint: instead of the config's ``teacher_ckpt``.
        record: name of the recorder to show; the first that holds maps by default.
        instances: ground truth in pixels of the image file, in mmdet's form
            (``bbox``, ``bbox_label``, ``ignore_flag``), for losses that look at it; by
            default that of the test data, if the image is one of them.

    Raises:
        ConfigError: if the image, device, record, distiller or teacher's file does not
            exist.
        AnnotationError: if the image cannot be read.
        CheckpointError: if the checkpoint does not fit.
        TeacherError: if the teacher's does not fit.

    Example:
        >>> cfg = read_config('configs/demo/pkd_retinanet.py')
        >>> views = feature_views(cfg, 'epoch_12.pth', 'image.png')
        >>> cv2.imwrite('features.png', feature_sheet(views))
    """
    check_image(image_path)
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        model = load_model(cfg, checkpoint, teacher_checkpoint, device)
        if not isinstance(model, DetectionDistill):
            return _plain_views(model, read_image(cfg, image_path, model), record)
        check_record(model.distiller, record)
        reason: str | None = None
        if needing_truth(model.distiller) and instances is None:
            instances, reason = known_instances(cfg, image_path)
        seen = read_image(cfg, image_path, model, instances)
        if instances is not None and not seen.annotated:
            reason = 'the test pipeline does not load annotations'
        return _distilled_views(model, seen, record, reason)


def feature_sheet(views: FeatureViews) -> NDArray[np.uint8]:
    """Draw views as one picture: a row for each level, heat maps over the image.

    Returns:
        (height, width, 3), BGR.
    """
    distilled = views.levels[0].teacher is not None
    title = f'Features of the detector ({views.record}).'
    if distilled:
        title = f'Features of student and teacher ({views.record}), as losses get them.'
    notes = [f'Note: {note}.' for note in views.notes]
    explained = [_ACTIVATION, *([_DIFFERENCE, _LOSSES] if distilled else [])]
    losses = list(dict.fromkeys(name for view in views.levels for name in view.losses))
    rows = []
    for view in views.levels:
        height, width = view.student.shape
        maps = {'student' if distilled else 'activation': view.student}
        if view.teacher is not None:
            maps['teacher'] = view.teacher
        limits = percentiles(*maps.values())  # one scale, so that both can be compared
        heats = [Heat(name, values, limits) for name, values in maps.items()]
        if view.difference is not None:
            heats.append(_from_zero('difference', view.difference))
        heats += [_from_zero(name, view.losses.get(name)) for name in losses]
        caption = f'level {view.level}: stride {view.stride}, map {width} x {height}'
        rows.append((caption, heats))
    return heat_sheet(views.image, rows, [title, *explained, *notes])


def _from_zero(heading: str, values: Map | None) -> Heat:
    high = 0.0 if values is None else percentiles(values)[1]
    return Heat(heading, values, (0.0, high), 'inferno')


@torch.no_grad()
def _plain_views(model: Any, seen: InputImage, record: str | None) -> FeatureViews:
    if record is not None:
        raise ConfigError(
            f'record: got {record!r}, but a plain detector has no recorders; leave it '
            'out.'
        )
    maps = levels_of(model.extract_feat(seen.inputs), {})
    if not maps:
        raise ConfigError(
            f'{type(model).__name__}.extract_feat gives no maps (N, C, H, W), there is '
            'nothing to draw.'
        )
    levels = [
        LevelView(level, _stride(seen, feat), activation(feat))
        for level, feat in maps.items()
    ]
    return FeatureViews(seen.picture, levels, 'extract_feat')


@torch.no_grad()
def _distilled_views(
    model: DetectionDistill, seen: InputImage, record: str | None, reason: str | None
) -> FeatureViews:
    context = model.observe(seen.inputs, seen.samples, seen.annotated)
    name, pairs = chosen_pairs(model.distiller, record)
    losses, notes = loss_maps(model.distiller, context, set(pairs), reason)
    levels = []
    for level, (s, t) in pairs.items():
        if s.shape[1] != t.shape[1]:
            notes.append(
                f'level {level}: student {s.shape[1]} channels, teacher {t.shape[1]}; '
                'the difference is that of the activations, each divided by its mean'
            )
        maps = (activation(s), activation(t), difference(s, t))
        levels.append(LevelView(level, _stride(seen, s), *maps, losses.get(level, {})))
    return FeatureViews(seen.picture, levels, name, tuple(notes))


def _stride(seen: InputImage, feat: Tensor) -> int:
    """The power of two that the map's size was rounded up from."""
    sides = zip(seen.inputs.shape[-2:], feat.shape[-2:], strict=True)
    return 1 << int(np.ceil(np.log2(max(pixels / cells for pixels, cells in sides))))
