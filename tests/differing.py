"""Students and teachers that differ in one thing, with every loss between them."""

from __future__ import annotations

import functools
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope

from aerialkd.algorithms import DetectionDistill
from aerialkd.errors import AerialKDError
from tests.builders import (
    atss,
    batch,
    dist_rotated_retinanet,
    gfl,
    retinanet,
    rotated_retinanet,
    turned,
)
from tests.shared_batch import LOSSES

RECORDERS = dict(
    fpn=dict(type='ModuleOutputs', source='neck'),
    head=dict(type='HeadOutputs'),
    towers=dict(type='HeadTowers', idx=1),
)
SOFTMAX = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False)
WIDE = dict(neck=dict(out_channels=32), bbox_head=dict(in_channels=32))
FINE = dict(
    neck=dict(start_level=0),
    bbox_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32])),
)


def _with_sigmoid(cfg: ConfigDict) -> ConfigDict:
    cfg.bbox_head.loss_cls.use_sigmoid = True
    return cfg


def _head(**options: Any) -> dict[str, Any]:
    return dict(bbox_head=options)


def _anchors(**options: Any) -> dict[str, Any]:
    return _head(anchor_generator=options)


# By name: builder of the student, that of the teacher, what differs in the teacher.
DIFFERENCES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    'nothing': (retinanet, retinanet, {}),
    'notation': (
        retinanet,
        retinanet,
        _anchors(
            octave_base_scale=None, scales_per_octave=None, scales=[2, 2 * 2**0.5]
        ),
    ),
    'strides': (retinanet, retinanet, _anchors(strides=[16, 32, 64, 128])),
    'anchors': (retinanet, retinanet, _anchors(octave_base_scale=3)),
    'priors a cell': (retinanet, retinanet, _anchors(scales_per_octave=3)),
    'offset': (retinanet, retinanet, _anchors(center_offset=0.5)),
    'coder': (
        retinanet,
        retinanet,
        _head(bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2])),
    ),
    'classes': (retinanet, retinanet, _head(num_classes=5)),
    'activation': (retinanet, retinanet, _head(loss_cls=SOFTMAX)),
    'levels': (
        retinanet,
        retinanet,
        dict(neck=dict(num_outs=5), **_anchors(strides=[8, 16, 32, 64, 128])),
    ),
    'map sizes': (retinanet, retinanet, FINE),
    'channels': (retinanet, retinanet, WIDE),
    'head': (
        lambda: _with_sigmoid(atss()),
        lambda: _with_sigmoid(gfl()),
        {},
    ),
    'bins': (
        lambda: _with_sigmoid(gfl()),
        lambda: _with_sigmoid(gfl()),
        _head(reg_max=12),
    ),
    'boxes': (retinanet, rotated_retinanet, {}),
    'angles': (
        rotated_retinanet,
        rotated_retinanet,
        _head(
            anchor_generator=dict(angle_version='oc'),
            bbox_coder=dict(angle_version='oc'),
        ),
    ),
    'images': (retinanet, retinanet, {}),
}


# For LD: builders of heads that have distributions, and what differs otherwise there.
WITH_BINS = {
    retinanet: lambda: _with_sigmoid(gfl()),
    rotated_retinanet: dist_rotated_retinanet,
}
OF_BINS = {
    'notation': _anchors(octave_base_scale=None, scales_per_octave=None, scales=[4]),
    'coder': _head(
        bbox_coder=dict(type='mmdet.DistancePointBBoxCoder', clip_border=False)
    ),
}


def _merged(cfg: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    for key, value in changes.items():
        if isinstance(value, dict) and 'type' not in value and key in cfg:
            _merged(cfg[key], value)
        else:
            cfg[key] = ConfigDict(value) if isinstance(value, dict) else value
    return cfg


def build(difference: str, losses: dict[str, tuple[str, dict]]) -> DetectionDistill:
    """An algorithm with losses on a student and a teacher that differ."""
    init_default_scope('mmdet')
    of_student, of_teacher, changes = DIFFERENCES[difference]
    if set(losses) == {'LDLoss'}:
        # Only the head of rotated boxes has distributions of several priors a cell.
        several = {retinanet: dist_rotated_retinanet} if 'a cell' in difference else {}
        instead = WITH_BINS | several
        of_student, of_teacher = instead[of_student], instead[of_teacher]
        changes = OF_BINS.get(difference, changes)
    student, teacher = of_student(), _merged(of_teacher(), changes)
    kind = 'DetectionDistill'
    if difference == 'images':  # FA: as many cells as the teacher has
        kind, student = 'CrossScaleDistill', _merged(student, FINE)
    names = {record for record, _ in losses.values()}
    return MODELS.build(
        ConfigDict(
            type=f'aerialkd.{kind}',
            architecture=student,
            teacher=teacher,
            check_classes=False,
            distiller=dict(
                type='aerialkd.DetectionDistiller',
                recorders={name: RECORDERS[name] for name in names},
                distill_losses={
                    name: dict(type=f'aerialkd.{name}', **options)
                    for name, (_, options) in losses.items()
                },
                loss_forward_mappings={n: record for n, (record, _) in losses.items()},
            ),
        )
    )


def losses_on(difference: str) -> dict[str, tuple[str, dict]]:
    """Each with the record that it compares."""
    distributed = difference in ('bins', 'head')
    return {k: v for k, v in LOSSES.items() if distributed or k != 'LDLoss'}


@functools.cache
def outcomes(difference: str) -> dict[str, AerialKDError | float]:
    """What each loss makes of a difference in a first step: its value, or an error."""
    found = _first_step(build(difference, losses_on(difference)), difference)
    if 'LDLoss' not in found:  # of heads with distributions
        found |= _first_step(
            build(difference, dict(LDLoss=LOSSES['LDLoss'])), difference
        )
    return found


def _first_step(model: DetectionDistill, difference: str) -> dict[str, Any]:
    data = batch(((128, 128),) * 2)
    if hasattr(model.student.bbox_head.bbox_coder, 'angle_version'):
        turned(data)
    model.train()
    data = model.data_preprocessor(data, True)
    teachers, students = model.views(data['inputs'], data['data_samples'])
    model.run_teacher(*teachers)
    model.run_student(*students)
    context = model.context(*students)
    found: dict[str, AerialKDError | float] = {}
    for name in model.distiller.distill_losses:
        try:
            value: Any = model.distiller.compute_loss(name, context).item()
        except AerialKDError as error:
            value = error
        found[name.removeprefix('loss_')] = value
    return found
