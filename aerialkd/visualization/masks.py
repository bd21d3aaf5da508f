"""What a method selects in an image: attention, masks and weights of each level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes
from numpy.typing import NDArray

from aerialkd.algorithms import DetectionDistill
from aerialkd.errors import ConfigError
from aerialkd.registry import scope_of
from aerialkd.structures import AssignedTargets
from aerialkd.visualization.drawing import draw_boxes
from aerialkd.visualization.feature_inputs import (
    InputImage,
    Instances,
    check_image,
    known_instances,
    load_model,
    read_image,
)
from aerialkd.visualization.feature_maps import Map, as_map, level_numbers
from aerialkd.visualization.heatmaps import Heat, heat_sheet, percentiles

__all__ = ['MaskViews', 'mask_sheet', 'mask_views']

BOX_COLOR = (255, 210, 0)


@dataclass(frozen=True)
class MaskViews:
    """What the losses of a method select in an image.

    Attributes:
        image: as the teacher saw it, resized and padded, (h, w, 3), BGR.
        boxes: ground truth in pixels of ``image``, (n, 4) or (n, 5).
        levels: by level of the pyramid, maps (H_l, W_l) by ``'<loss>: <what>'``.
        notes: what is shown otherwise, and why.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    levels: dict[int, dict[str, Map]]
    notes: tuple[str, ...] = ()


def mask_views(
    cfg: Config,
    image_path: str | Path,
    *,
    device: str = 'cpu',
    teacher_checkpoint: str | Path | None = None,
    instances: Instances | None = None,
) -> MaskViews:
    """Run the teacher on an image and collect what the losses select.

    These maps depend on the teacher and the boxes alone
    (:meth:`aerialkd.losses.DistillLoss.masks`), no trained student is needed. A loss
    that asks for assigned targets gets those that an untrained student assigns.

    Args:
        cfg: config of a distillation; not changed.
        image_path: the image.
        device: ``'cpu'``, ``'cuda:0'``, ...
        teacher_checkpoint: instead of the config's ``teacher_ckpt``.
        instances: ground truth in pixels of the image file, in mmdet's form; by
            default that of the config's test or training data.

    Raises:
        ConfigError: if the image or teacher's file does not exist, or no loss of the
            config selects anything.
        TeacherError: if the teacher's weights do not fit.
    """
    check_image(image_path)
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        model = load_model(cfg, None, teacher_checkpoint, device)
        if not isinstance(model, DetectionDistill):
            raise ConfigError(
                f'{cfg.filename}: distils nothing; name the config of a method.'
            )
        notes = []
        if instances is None:
            instances, reason = known_instances(cfg, image_path)
            if instances is None:
                notes.append(f'drawn as an image without objects: {reason}')
        seen = read_image(cfg, image_path, model, instances or [])
        return _views(model, seen, tuple(notes))


def mask_sheet(views: MaskViews) -> NDArray[np.uint8]:
    """Draw views as one picture: a row for each level, maps over the image.

    Returns:
        (height, width, 3), BGR.
    """
    image = draw_boxes(
        views.image, views.boxes, [BOX_COLOR] * len(views.boxes), width=1
    )
    names = dict.fromkeys(name for maps in views.levels.values() for name in maps)
    rows = []
    for level, maps in views.levels.items():
        height, width = next(iter(maps.values())).shape
        heats = [_heat(name, maps.get(name)) for name in names]
        rows.append((f'level {level}: map {width} x {height}', heats))
    legend = [
        'What the losses select in the image, with the ground truth in yellow. '
        'Coloured from 0 to the 99th percentile of the values above 0; the ends stand '
        'under each map.',
        *(f'Note: {note}.' for note in views.notes),
    ]
    return heat_sheet(image, rows, legend)


@torch.no_grad()
def _views(
    model: DetectionDistill, seen: InputImage, notes: tuple[str, ...]
) -> MaskViews:
    for sample in seen.samples:
        if not seen.annotated:
            sample.gt_instances = _no_objects(model.student, seen.inputs.device)
    distiller = model.distiller
    teachers, students = model.views(seen.inputs, seen.samples)

    def assigned() -> AssignedTargets | None:
        model.run_student(*students)
        return distiller.assigned

    context = model.context(*students, assigned)
    model.run_teacher(*teachers)
    levels: dict[int, dict[str, Map]] = {}
    for name, mapping in distiller.loss_forward_mappings.items():
        short = name.removeprefix('loss_')
        for what, drawn in distiller.masks(name, context).items():
            numbers = level_numbers(mapping['preds_T'], len(drawn))
            for level, values in zip(numbers, drawn, strict=True):
                levels.setdefault(level, {})[f'{short}: {what}'] = as_map(values)
    distiller.clear_records()
    if not levels:
        losses = ', '.join(type(x).__name__ for x in distiller.distill_losses.values())
        raise ConfigError(
            f'None of the losses ({losses}) selects cells by attention, masks or '
            'weights; tools/show_features.py draws what any loss looks at.'
        )
    boxes = get_box_tensor(seen.samples[0].gt_instances.bboxes)
    return MaskViews(seen.picture, boxes.cpu().numpy(), levels, notes)


def _no_objects(student: Any, device: torch.device) -> InstanceData:
    """Ground truth of an image without objects, of the box type that the head has."""
    coder = getattr(getattr(student, 'bbox_head', None), 'bbox_coder', None)
    none: Any = torch.zeros(0, getattr(coder, 'encode_size', 4), device=device)
    return InstanceData(
        bboxes=RotatedBoxes(none) if none.shape[1] == 5 else none,
        labels=torch.zeros(0, dtype=torch.long, device=device),
    )


def _heat(name: str, values: Map | None) -> Heat:
    # Of the selected cells: most maps are 0 almost everywhere, and a few cells of the
    # attention would darken all others.
    high = 0.0 if values is None else percentiles(values[values > 0])[1]
    return Heat(name, values, (0.0, high), 'inferno')
