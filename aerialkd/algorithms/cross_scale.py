"""CrossScaleDistill: a teacher that sees the images larger than its student does."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from aerialkd.algorithms.detection_distill import DetectionDistill, View
from aerialkd.arguments import Positive
from aerialkd.errors import ConfigError
from aerialkd.registry import MODELS
from aerialkd.structures import scaled_boxes


@MODELS.register_module()
class CrossScaleDistill(DetectionDistill):
    """Teach a student on images ``1 / scale`` times as large as its teacher's.

    ZoomInNet's cross-scale distillation (Liu et al. 2021), for any pair of
    single-stage detectors. The *training* data are loaded at the teacher's scale; the
    student is shown the same batch shrunk on the device, with its boxes, image sizes
    and ignored regions. All that losses know of the batch, priors, boxes of both
    models, masks, is in pixels of the student's images. The *test* pipeline has the
    student's own scale: what is evaluated and exported takes its images as they are. It
    should shrink files with a filter, too: ``Resize(..., interpolation='area')``.

    A batch is padded so that it shrinks to what the student's preprocessor would pad
    to, without a remainder.

    Args:
        args: as for :class:`DetectionDistill`.
        scale: how many times larger the teacher's images are, above 0; a ratio of
            whole numbers up to 16, such as 2 or 1.5.
        antialias: shrink with a filter as wide as ``scale`` rather than by the nearest
            four pixels, which alias.
        kwargs: as for :class:`DetectionDistill`.

    Raises:
        ConfigError: if ``scale`` is no such ratio, or the preprocessor cannot pad.
    """

    def __init__(
        self, *args: Any, scale: Positive = 2.0, antialias: bool = True, **kwargs: Any
    ) -> None:
        self._ratio = _ratio(scale)
        self.teacher_scale = float(scale)
        super().__init__(*args, **kwargs)
        self.antialias = antialias
        own: Any = self.data_preprocessor  # type: ignore[has-type]
        teachers = getattr(self.teacher, 'data_preprocessor', None)
        divisors = [getattr(p, 'pad_size_divisor', None) for p in (own, teachers)]
        if divisors[0] is None:
            raise ConfigError(
                f'CrossScaleDistill: {type(own).__name__} does not pad batches to a '
                'multiple of a size (pad_size_divisor), so that they would not shrink '
                'evenly. Use a DetDataPreprocessor.'
            )
        self.student_preprocessor = own  # of images at the student's own scale
        self.data_preprocessor = copy.deepcopy(own)
        self.data_preprocessor.pad_size_divisor = math.lcm(
            (divisors[0] * self._ratio).numerator, divisors[1] or 1
        )

    def views(self, inputs: Tensor, data_samples: Sequence[Any]) -> tuple[View, View]:
        """The batch as it is for the teacher, and shrunk for the student."""
        size = [side / self._ratio for side in inputs.shape[-2:]]
        if any(side.denominator != 1 for side in size):
            raise ConfigError(
                f'CrossScaleDistill: a batch of {tuple(inputs.shape[-2:])} pixels '
                f'does not shrink by {self._ratio} without a remainder. Pass batches '
                "through the algorithm's own data_preprocessor."
            )
        height, width = (int(side) for side in size)
        small = F.interpolate(
            inputs, (height, width), mode='bilinear', antialias=self.antialias
        )
        samples = [self._shrunk(s, (height, width)) for s in data_samples]
        return View(inputs, data_samples), View(small, samples)

    def val_step(self, data: Any) -> list[Any]:
        """Predict with the student, on images of its own scale."""
        data = self.student_preprocessor(data, False)
        return self._run_forward(data, mode='predict')

    def test_step(self, data: Any) -> list[Any]:
        """As :meth:`val_step`."""
        return self.val_step(data)

    def _shrunk(self, sample: Any, input_shape: tuple[int, int]) -> Any:
        """A data sample in pixels of the student's image; the original stays."""
        shrunk = sample.new()
        height, width = sample.img_shape[:2]
        meta = dict(
            img_shape=(self._length(height), self._length(width)),
            pad_shape=input_shape,
            batch_input_shape=input_shape,
        )
        if 'scale_factor' in sample:
            meta['scale_factor'] = tuple(
                f / self.teacher_scale for f in sample.scale_factor
            )
        shrunk.set_metainfo(meta)
        for name in ('gt_instances', 'ignored_instances'):
            if name not in sample:
                continue
            instances = getattr(sample, name).new()
            if 'masks' in instances:
                raise ConfigError(
                    'CrossScaleDistill: got instance masks, which it does not shrink; '
                    'leave with_mask out of LoadAnnotations.'
                )
            instances.bboxes = scaled_boxes(instances.bboxes, 1 / self.teacher_scale)
            setattr(shrunk, name, instances)
        return shrunk

    def _length(self, pixels: int) -> int:
        """Pixels of the student's image that ``pixels`` of the teacher's reach into."""
        return math.ceil(pixels / self._ratio)


def _ratio(scale: float) -> Fraction:
    """The scale as a ratio of small whole numbers."""
    ratio = Fraction(scale).limit_denominator(16) if scale > 0 else Fraction(0)
    if not math.isclose(ratio, scale) or not ratio or ratio.numerator > 16:
        raise ConfigError(
            f'CrossScaleDistill.scale: got {scale}, expected a ratio of whole numbers '
            'up to 16, such as 2 or 1.5.'
        )
    return ratio
