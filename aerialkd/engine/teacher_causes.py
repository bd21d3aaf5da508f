"""Why a teacher finds nothing: what the evidence speaks for, and the remedy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mmdet.models.data_preprocessors import DetDataPreprocessor

from aerialkd.engine.teacher_findings import ENOUGH, Findings

# What explains a low recall has to reach this, and twice the recall itself.
_EVIDENCE = 0.2


class Normalisation(NamedTuple):
    """What a data preprocessor does to the colours, as its config names it."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr_to_rgb: bool

    @classmethod
    def of(cls, preprocessor: Any) -> Normalisation:
        """That of an ``ImgDataPreprocessor``."""
        convert = preprocessor._channel_conversion
        if not preprocessor._enable_normalize:
            return cls((0.0,) * 3, (1.0,) * 3, convert)
        mean, std = (
            tuple(round(value, 4) for value in statistic.flatten().tolist())
            for statistic in (preprocessor.mean, preprocessor.std)
        )
        return cls(mean, std, convert)

    def __str__(self) -> str:
        mean, std = list(self.mean), list(self.std)
        return f'mean={mean}, std={std}, bgr_to_rgb={self.bgr_to_rgb}'


# What pretrained detectors are mostly trained with.
_USUAL = (
    ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),  # torchvision's backbones
    ((103.53, 116.28, 123.675), (1.0, 1.0, 1.0)),  # Caffe's, channels in order BGR
    ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),  # YOLO
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # no normalisation
)


def evident_cause(
    algorithm: Any,
    seen: Findings,
    chance: Findings,
    look: Callable[[], Findings],
    classes: Sequence[str] | None,
) -> str | None:
    """Say why the teacher finds less than it could; None without evidence.

    Normalisations are not guessed but tried, if it finds little.

    Args:
        algorithm: the distillation.
        seen: what its teacher finds.
        chance: what the same detections find in other images.
        look: lets the teacher look again, at a few of the images.
        classes: names of the data set's classes, if known.
    """
    # An untrained head may cover the image with boxes, on objects too.
    least = max(_EVIDENCE * seen.objects, 2 * seen.found, 2 * chance.located)
    if seen.located > least:
        return _other_classes(seen, classes)
    if seen.recall >= ENOUGH:
        return None
    return _other_normalisation(algorithm, seen, look)


def suspicion(checkpoint: str | None) -> str:
    """Say why a teacher may find next to nothing when there is no evident cause.

    Args:
        checkpoint: file of its weights.
    """
    if checkpoint is None:
        return (
            'Its weights were not loaded: teacher_ckpt is None. Set it to the '
            "checkpoint of the teacher's training."
        )
    return (
        f'Likely causes: its weights were not loaded, if {checkpoint} (teacher_ckpt) '
        'is not the file meant or teacher_may_differ lets too many keys differ; or it '
        'was trained for other classes, other images or another scale. The usual '
        'normalisations, in both channel orders, do not help.'
    )


def _other_classes(seen: Findings, classes: Sequence[str] | None) -> str:
    (true, called), times = next(
        pair for pair in seen.called.most_common() if pair[0][0] != pair[0][1]
    )

    def name(label: int) -> str:
        known = classes is not None and label < len(classes)
        return repr(classes[label]) if known and classes else f'class {label}'

    return (
        f'On {seen.located} objects it has a detection of another class (most often '
        f'{name(called)} on {name(true)}, {times} times): it was trained for other '
        'classes or another order of them. Train the student with the same '
        'metainfo.classes, or, if only features are distilled and the classes do not '
        'matter, set check_classes=False.'
    )


def _other_normalisation(
    algorithm: Any, seen: Findings, look: Callable[[], Findings]
) -> str | None:
    """Let the teacher look at other colours; None if it finds little in any."""
    teacher, source = algorithm.frozen_teacher, algorithm.data_preprocessor
    target: Any = getattr(teacher.model, 'data_preprocessor', None)
    if not hasattr(target, 'pad_value'):  # has no settings: shares the student's
        target = source
    if not hasattr(source, 'pad_value') or 1 in _channels(source, target):
        return None
    stated = Normalisation.of(target)
    tried = []
    for normalisation in _others(stated):
        options: dict[str, Any] = normalisation._asdict()
        standing_in = DetDataPreprocessor(**options, pad_value=target.pad_value)
        with teacher.normalised_as(source, standing_in.to(source.device)):
            tried.append((look(), normalisation))
    most, best = max(tried, key=lambda pair: pair[0].found)
    if most.recall < max(_EVIDENCE, 2 * seen.recall):
        return None
    swap = ', that is with the channels swapped' if best[:2] == stated[:2] else ''
    return (
        f'With {best} instead of {stated}{swap}, it finds {most}: set '
        'data_preprocessor in the config of the teacher to what it was trained with.'
    )


def _channels(*preprocessors: Any) -> set[int]:
    """Numbers of channels that are normalised."""
    return {p.mean.numel() for p in preprocessors if p._enable_normalize}


def _others(stated: Normalisation) -> Iterator[Normalisation]:
    """The channels swapped, then the usual normalisations in both orders."""
    statistics = dict.fromkeys([stated[:2], *_USUAL])
    for (mean, std), swap in itertools.product(statistics, (True, False)):
        other = Normalisation(mean, std, stated.bgr_to_rgb != swap)
        if other != stated:
            yield other
