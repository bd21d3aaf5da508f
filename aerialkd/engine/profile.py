"""What a distilled training step costs, part by part."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes
from torch import Tensor

from aerialkd.algorithms import DetectionDistill
from aerialkd.engine.memory import peak_memory, restart_peak_memory
from aerialkd.recorders import tensors_of


@dataclass
class StepProfile:
    """Seconds of each repetition, by part of the step, and peak memory in bytes.

    ``student`` is a plain training step (forward and backward), ``teacher`` the
    teacher's forward pass, ``whole`` the distilled step, and each ``loss_*`` a
    distillation loss with its backward pass down to the records and to the parameters
    of losses and connectors.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_student: int = 0
    peak_whole: int = 0

    def median(self, part: str) -> float:
        """Median seconds of a part."""
        return median(self.seconds[part])

    @property
    def ratio(self) -> float:
        """Cost of the whole step over student step + teacher forward."""
        return self.median('whole') / (self.median('student') + self.median('teacher'))

    @property
    def extra_memory(self) -> int:
        """Peak memory of the whole step over that of the student's, in bytes."""
        return self.peak_whole - self.peak_student

    def summary(self) -> dict[str, float]:
        """Medians of the parts in milliseconds, their ratio, memory in MiB."""
        times = {f'{part}_ms': 1e3 * self.median(part) for part in self.seconds}
        return times | dict(ratio=self.ratio, extra_mib=self.extra_memory / 2**20)

    def __str__(self) -> str:
        lines = [
            f'{part:<24}{self.median(part) * 1e3:10.1f} ms' for part in self.seconds
        ]
        extra = self.extra_memory / 2**20
        peak = self.peak_whole / 2**20
        lines.append(
            f'{"peak memory":<24}{peak:10.0f} MiB ({extra:+.0f} to the student)'
        )
        lines.append(f'ratio whole/(student + teacher): {self.ratio:.3f}')
        return '\n'.join(lines)


def profile_step(
    model: DetectionDistill, data: dict[str, Any], repeats: int = 10, warmup: int = 2
) -> StepProfile:
    """Time the parts of a training step in interleaved repetitions.

    Args:
        model: the distillation, on the device to measure.
        data: a batch as the data preprocessor returns it.
        repeats: measured repetitions; the medians count.
        warmup: repetitions before them.
    """
    profile = StepProfile()
    model.train()
    inputs, samples = data['inputs'], data['data_samples']
    teachers, students = model.views(inputs, samples)

    def student_step() -> None:
        _backward(model, model.student(*students, mode='loss'))

    def teacher_forward() -> None:
        model.frozen_teacher(*teachers, model.distiller.needs_teacher_head)

    def whole_step() -> None:
        _backward(model, model(inputs, samples, mode='loss'))

    for _ in range(warmup):
        student_step()
    profile.peak_student = _peak_of(student_step, inputs.device)
    for _ in range(warmup):
        teacher_forward()
        whole_step()
    profile.peak_whole = _peak_of(whole_step, inputs.device)
    parts = dict(student=student_step, teacher=teacher_forward, whole=whole_step)
    for _ in range(repeats):
        for name, run in parts.items():
            profile.seconds.setdefault(name, []).append(_timed(run, inputs.device))
        for name, seconds in _time_losses(model, data).items():
            profile.seconds.setdefault(name, []).append(seconds)
    return profile


def made_batch(
    model: DetectionDistill,
    batch_size: int,
    size: tuple[int, int],
    boxes: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Random images with random boxes of the head's type, as the model takes them.

    Args:
        model: decides device, number of classes and box type.
        batch_size: N.
        size: (height, width) in pixels.
        boxes: objects an image, 8 to 64 px wide.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    head = model.student.bbox_head
    rotated = getattr(head.bbox_coder, 'encode_size', 4) == 5
    height, width = size
    samples = []
    for _ in range(batch_size):
        wh = 8 + 56 * torch.rand(boxes, 2, generator=generator)
        low = torch.rand(boxes, 2, generator=generator) * (
            torch.tensor([width, height]) - wh
        )
        bboxes = torch.cat([low, low + wh], 1)
        if rotated:
            angle = (torch.rand(boxes, 1, generator=generator) - 0.5) * torch.pi
            bboxes = RotatedBoxes(torch.cat([low + wh / 2, wh, angle], 1))
        meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=meta)
        labels = torch.randint(head.num_classes, (boxes,), generator=generator)
        sample.gt_instances = InstanceData(bboxes=bboxes, labels=labels)
        sample.ignored_instances = InstanceData(bboxes=bboxes[:0], labels=labels[:0])
        samples.append(sample)
    images = torch.randint(256, (batch_size, 3, *size), generator=generator)
    inputs = [image.to(torch.uint8) for image in images]
    return model.data_preprocessor(dict(inputs=inputs, data_samples=samples), True)


def _backward(model: DetectionDistill, losses: dict[str, Any]) -> None:
    model.zero_grad(set_to_none=True)
    model.parse_losses(losses)[0].backward()


def _time_losses(model: DetectionDistill, data: dict[str, Any]) -> dict[str, float]:
    """Seconds of each distillation loss, forward and backward.

    The backward pass ends at the student's records and at the distiller's parameters.
    """
    teachers, students = model.views(data['inputs'], data['data_samples'])
    distiller = model.distiller
    seconds = {}
    try:
        model.run_teacher(*teachers)
        model.run_student(*students)
        context = model.context(*students)

        def run(name: str) -> None:
            # Its own records: a record behind another would add what lies between.
            buffers = [
                distiller.get_record(record['recorder'], True)
                for record in distiller.loss_forward_mappings[name].values()
                if record['from_student']
            ]
            tensors = (*tensors_of(buffers), *distiller.parameters())
            leaves = [t for t in tensors if t.requires_grad]
            loss: Tensor = distiller.compute_loss(name, context)
            torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)

        for name in distiller.loss_forward_mappings:
            seconds[name] = _timed(partial(run, name), students.inputs.device)
    finally:
        distiller.clear_records()
    return seconds


def _timed(run: Callable[[], None], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _peak_of(run: Callable[[], None], device: torch.device) -> int:
    """Peak memory during a call, in bytes: of the device, or resident.

    A median of three: resident memory depends on where blocks happened to lie.
    """
    return int(median(_peak_once(run, device) for _ in range(3)))


def _peak_once(run: Callable[[], None], device: torch.device) -> int:
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device)
    restart_peak_memory()
    run()
    return peak_memory()
