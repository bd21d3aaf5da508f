"""Which features of student and teacher belong together, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aerialkd.distillers import DetectionDistiller
from aerialkd.errors import ConfigError
from aerialkd.losses import DistillLoss
from aerialkd.losses.functional import pearson_map
from aerialkd.structures import BatchContext

Map = NDArray[np.float32]
Pairs = dict[int, tuple[Tensor, Tensor]]


def check_record(distiller: DetectionDistiller, record: str | None) -> None:
    """Refuse a recorder that does not exist.

    Raises:
        ConfigError: if there is none of that name.
    """
    names = _recorders(distiller)
    if record is not None and record not in names:
        raise ConfigError(
            f'record: got {record!r}, expected one of the recorders of the config: '
            f'{", ".join(names)}.'
        )


def chosen_pairs(
    distiller: DetectionDistiller, record: str | None
) -> tuple[str, Pairs]:
    """Name and maps of a record, or of the first that holds maps of both models.

    Raises:
        ConfigError: if there is none.
    """
    names = [record] if record is not None else _recorders(distiller)
    for name in names:
        pairs = _pairs(distiller, name)
        if pairs:
            return name, pairs
    raise ConfigError(
        f'record: {", ".join(names)} hold no maps (N, C, H, W) of both models; add a '
        "recorder of a neck or backbone, dict(type='ModuleOutputs', source='neck')."
    )


def levels_of(data: Any, record: Mapping[str, Any]) -> dict[int, Tensor]:
    """The levels of a record, by their index; none if it holds no maps."""
    levels = [data] if isinstance(data, Tensor) else data
    if not isinstance(levels, (list, tuple)) or not all(
        isinstance(feat, Tensor) and feat.ndim == 4 for feat in levels
    ):
        return {}
    return dict(zip(level_numbers(record, len(levels)), levels, strict=True))


def needing_truth(distiller: DetectionDistiller) -> list[str]:
    """Losses that can be drawn, but not without ground truth."""
    return [
        name
        for name, loss in distiller.distill_losses.items()
        if isinstance(loss, DistillLoss)
        and (_overrides(loss, 'spatial_maps') or _overrides(loss, 'masks'))
        and distiller.takes_batch(name)
    ]


def loss_maps(
    distiller: DetectionDistiller,
    context: BatchContext | None,
    levels: set[int],
    reason: str | None,
) -> tuple[dict[int, dict[str, Map]], list[str]]:
    """What the losses look at in the only image of the batch.

    Args:
        distiller: with its records.
        context: what losses may know; without, those that need it are left out.
        levels: that are drawn.
        reason: why there is no context.

    Returns:
        Maps by level and name, and notes on what is not shown.
    """
    maps: dict[int, dict[str, Map]] = {}
    needing = needing_truth(distiller)
    notes: list[str] = []
    for name, mapping in distiller.loss_forward_mappings.items():
        short = name.removeprefix('loss_')
        if name in needing and context is None:
            notes.append(f'{short} needs ground truth and is left out: {reason}')
            continue
        for what, drawn in distiller.spatial_maps(name, context).items():
            numbers = level_numbers(mapping.get('preds_S', {}), len(drawn))
            for level, values in zip(numbers, drawn, strict=True):
                maps.setdefault(level, {})[f'{short}: {what}'] = as_map(values)
    other = sorted(set(maps) - levels)
    if other:
        notes.append(f'losses also look at levels {other}, which the record has not')
    return maps, notes


def activation(feat: Tensor) -> Map:
    """Root mean square over the standardised channels; (1, C, H, W) -> (H, W)."""
    feat = feat.float()
    # The distance to dead channels is half the mean square of the standardised ones.
    return as_map((2 * pearson_map(feat, torch.zeros_like(feat))).sqrt())


def difference(s: Tensor, t: Tensor) -> Map:
    """How student and teacher, (1, C, H, W), differ in each of the teacher's cells.

    Root mean square over the channels of the difference of the standardised maps; with
    other numbers of channels, that of the activations, each divided by its mean.
    """
    if s.shape[2:] != t.shape[2:]:
        s = F.interpolate(s, t.shape[2:], mode='bilinear')
    if s.shape[1] == t.shape[1]:
        return as_map((2 * pearson_map(s.float(), t.float())).sqrt())
    first, second = (activation(feat) for feat in (s, t))
    return np.abs(_relative(first) - _relative(second))


def _overrides(loss: DistillLoss, method: str) -> bool:
    return getattr(type(loss), method) is not getattr(DistillLoss, method)


def _recorders(distiller: DetectionDistiller) -> list[str]:
    return [
        name for name in distiller.student_recorders.recorders if name != 'assigned'
    ]


def _pairs(distiller: DetectionDistiller, record: str) -> Pairs:
    """Maps of student and teacher by level, as the first loss that has them does."""
    pairs: Pairs = {}
    for mapping in distiller.loss_forward_mappings.values():
        s, t = (mapping.get(argument) for argument in ('preds_S', 'preds_T'))
        if not s or not t or not s['from_student'] or t['from_student']:
            continue
        if s['recorder'] == record:
            pairs = {**_paired(distiller, s, t), **pairs}
    if not pairs and record in distiller.teacher_recorders.recorders:
        s, t = (dict(recorder=record, from_student=side) for side in (True, False))
        pairs = _paired(distiller, s, t)
    return dict(sorted(pairs.items()))


def _paired(distiller: DetectionDistiller, s: dict, t: dict) -> Pairs:
    students, teachers = (levels_of(distiller.get_record(**r), r) for r in (s, t))
    return {
        level: (students[level], teachers[level])
        for level in students
        if level in teachers
    }


def level_numbers(record: Mapping[str, Any], count: int) -> list[int]:
    """Indices of the levels that a mapping takes of a record."""
    chosen = record.get('levels')
    if chosen is None and count == 1:  # one level of a pyramid, or the only one
        chosen = [record.get('connector_idx') or record.get('data_idx') or 0]
    # A connector may make another number of levels, which are counted from 0.
    return list(chosen) if chosen and len(chosen) == count else list(range(count))


def _relative(values: Map) -> Map:
    mean = float(values.mean())
    return values / mean if mean > 0 else values


def as_map(values: Tensor) -> Map:
    """The map of the only image, (1, H, W), on the CPU."""
    return np.asarray(values[0].detach().float().cpu().numpy())
