"""One step on a batch, in one process or shared by two: every algorithm and loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

import aerialkd  # noqa: F401 - registers everything in a fresh process
from aerialkd.algorithms import DetectionDistill
from tests.builders import (
    batch,
    dist_rotated_retinanet,
    gfl,
    retinanet,
    rotated_retinanet,
    turned,
    yolov8,
)

DETECTORS = dict(
    retinanet=retinanet,
    gfl=gfl,
    rotated=rotated_retinanet,
    rotated_dist=dist_rotated_retinanet,
    yolov8=yolov8,
)
CHANNELS = dict(student_channels=16, teacher_channels=16, num_levels=4)
# Losses with the record that they compare. Weights bring all to the task loss's size.
LOSSES = dict(
    PKDLoss=('fpn', dict(loss_weight=1.0)),
    RegeneratedLoss=('fpn', dict(channels=16, num_levels=4, loss_weight=1e-3)),
    DecoupledLoss=('fpn', dict(loss_weight=1.0)),
    ResponsiveLoss=('head', dict(loss_weight=1e-3)),
    SoftClassLoss=('head', dict(loss_weight=100.0)),
    SoftRegressionLoss=('head', dict(loss_weight=100.0)),
    PositionAwareL2Loss=('fpn', dict(loss_weight=1.0)),
    CWDLoss=('fpn', dict()),
    # Nothing masked: each process draws its own mask.
    MGDLoss=('fpn', dict(CHANNELS, alpha_mgd=1e-3, lambda_mgd=0.0)),
    FGDLoss=('fpn', dict(CHANNELS, loss_weight=10.0)),
    AMDLoss=('fpn', dict(CHANNELS, alpha_amd=1e-3)),
    FGFILoss=('fpn', dict(loss_weight=1.0)),
    WSLDLoss=('head', dict(loss_weight=100.0)),
    DKDLoss=('head', dict(loss_weight=100.0)),
    NKDLoss=('head', dict(loss_weight=100.0)),
    BCKDLoss=('head', dict(loss_weight=0.01)),
    CrossKDLoss=('towers', dict(loss_weight=100.0)),
    LDLoss=('head', dict(vlr_weight=1.0, point_scale=4.0)),
)
ANCHORS_OF_POINTS = dict(
    type='mmdet.AnchorGenerator', ratios=[1.0], scales=[4], strides=[8, 16, 32]
)
# Both images are padded, alike alone and together.
SIZES = ((64, 96), (50, 80))


class Case(NamedTuple):
    """An algorithm on a pair of detectors with one loss."""

    algorithm: str
    detector: str
    loss: str

    def __str__(self) -> str:
        return '-'.join(self)

    def build(self) -> DetectionDistill:
        """The algorithm with the same weights in every process, in double precision.

        Batch norms are in evaluation mode: what they do in training depends on the
        images of a process. Their statistics are those of all images; with the initial
        ones, nothing but rounding would reach the end of a deep network.
        """
        torch.manual_seed(0)
        student, teacher = (DETECTORS[self.detector]() for _ in range(2))
        if self.detector == 'gfl':  # a class each, as ResponsiveLoss needs it
            for model in (student, teacher):
                model.bbox_head.loss_cls.use_sigmoid = True
        record, options = LOSSES[self.loss]
        if self.algorithm == 'CrossScaleDistill':  # FA: as many cells as the teacher
            student.neck.start_level = 0
            student.bbox_head.anchor_generator.strides = [4, 8, 16, 32]
        if self.detector == 'yolov8':
            student.bbox_head.times_batch_size = False
            if self.loss == 'RegeneratedLoss':
                options = dict(options, channels=[32, 64, 128], num_levels=3)
            if 'student_channels' in options:
                widths = [32, 64, 128]
                options = dict(options, student_channels=widths, num_levels=3)
                options['teacher_channels'] = widths
            if self.loss in ('PositionAwareL2Loss', 'FGFILoss'):
                options = dict(options, anchors=ANCHORS_OF_POINTS)
        recorders = dict(
            fpn=dict(type='ModuleOutputs', source='neck'),
            head=dict(type='HeadOutputs'),
            towers=dict(type='HeadTowers', idx=1),
        )
        cfg = dict(
            type=f'aerialkd.{self.algorithm}',
            architecture=student,
            teacher=teacher,
            distiller=dict(
                type='aerialkd.DetectionDistiller',
                recorders={record: recorders[record]},
                distill_losses=dict(one=dict(type=f'aerialkd.{self.loss}', **options)),
                loss_forward_mappings=dict(one=record),
            ),
        )
        algorithm = MODELS.build(ConfigDict(cfg)).train().double()
        torch.manual_seed(0)  # after the distiller's own parameters
        algorithm.student.init_weights()
        if self.detector == 'gfl':
            # mmdet divides by the sum of the positives' scores, but by at least 1 in
            # every process: scores of 0.01 would not add up to it.
            torch.nn.init.zeros_(algorithm.student.bbox_head.gfl_cls.bias)
            for detector in (algorithm.student, algorithm.teacher):
                # As its boxes are; sums over the processes have one type.
                scores = detector.bbox_head.gfl_cls
                scores.register_forward_hook(lambda *hook: hook[-1].float())
        # Untrained heads predict the same everywhere, student and teacher alike: there
        # the slope of an IoU is a matter of rounding.
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in algorithm.student.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter += 0.003 * noise * parameter.requires_grad
        inputs = preprocessed(algorithm, self.batch((0, 0)))['inputs']
        for detector in (algorithm.student, algorithm.teacher):
            freeze_batch_norms(detector, inputs)
        return algorithm

    def batch(self, boxes: tuple[int, ...], image: int | None = None) -> dict[str, Any]:
        """Raw images with so many boxes each; all of them, or one."""
        scale = 2 if self.algorithm == 'CrossScaleDistill' else 1
        data: dict[str, list] = dict(inputs=[], data_samples=[])
        for index, number in enumerate(boxes):
            if image not in (None, index):
                continue
            size = tuple(side * scale for side in SIZES[index])
            single = batch((size,), boxes=number, seed=index)
            for key in data:
                data[key] += single[key]
        if self.detector in ('rotated', 'rotated_dist'):
            turned(data)
        return data


@torch.no_grad()
def freeze_batch_norms(detector: Any, inputs: torch.Tensor) -> None:
    """Give batch norms the statistics of images, and put them in evaluation mode."""
    norms = [m for m in detector.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    detector.bbox_head(detector.extract_feat(inputs))
    for norm in norms:
        norm.eval()


def preprocessed(algorithm: DetectionDistill, data: dict[str, Any]) -> dict[str, Any]:
    """A batch as the detectors take it, images in double precision."""
    data = algorithm.data_preprocessor(data, True)
    return dict(data, inputs=data['inputs'].double())


class Step(NamedTuple):
    """What a step logged, and the gradient of every trainable parameter by name."""

    log: dict[str, float]
    gradients: dict[str, np.ndarray]


def step(model: Any, data: dict, student: float = 1.0, distill: float = 1.0) -> Step:
    """As ``train_step`` of the model or of its wrapper, without the optimizer.

    Args:
        model: the algorithm, or the algorithm in DDP.
        data: raw images and annotations.
        student: factor of the student's losses.
        distill: factor of the distillation losses.
    """
    algorithm = getattr(model, 'module', model)
    losses = model(**preprocessed(algorithm, data), mode='loss')
    factors = dict(student=student, distill=distill)
    total = torch.zeros(())
    log = {}
    for part, factor in factors.items():
        own = {k: v for k, v in losses.items() if k.startswith(f'{part}.')}
        loss, values = algorithm.parse_losses(own)
        total = total + factor * loss
        log.update({name: value.item() for name, value in values.items()})
    model.zero_grad(set_to_none=True)
    total.backward()
    trained = {k: p for k, p in algorithm.named_parameters() if p.requires_grad}
    missing = [name for name, parameter in trained.items() if parameter.grad is None]
    assert not missing, f'without gradient: {missing}'
    return Step(log, {k: p.grad.numpy().copy() for k, p in trained.items()})


def shared_steps(
    rank: int, case: Case, numbers: tuple[tuple[int, int], ...]
) -> list[Step]:
    """One step for each pair of numbers of boxes, in DDP as a Runner wraps it."""
    model = MMDistributedDataParallel(case.build(), broadcast_buffers=False)
    return [step(model, case.batch(boxes, image=rank)) for boxes in numbers]
