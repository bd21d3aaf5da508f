"""Why a teacher finds nothing: what the evidence speaks for, and the remedy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mmdet.models.data_preprocessors import DetDataPreprocessor

from aerialkd.engine.teacher_findings import MIN_SCORE, Findings

# Recall from which on a supposition explains why there was none. A few boxes lie on
# objects by chance, the more the denser the objects.
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


def likely_cause(
    algorithm: Any,
    seen: Findings,
    look: Callable[[], Findings],
    classes: Sequence[str] | None,
) -> str:
    """Say why the teacher finds next to nothing, and what to do.

    Other colours are tried, not guessed.

    Args:
        algorithm: the distillation.
        seen: what its teacher finds.
        look: lets the teacher look again.
        classes: names of the data set's classes, if known.
    """
    if seen.located > max(seen.found, _EVIDENCE * seen.objects):
        return _other_classes(seen, classes)
    better = _better_normalisation(algorithm, look)
    if better is not None:
        return better
    checkpoint = algorithm.frozen_teacher.checkpoint
    if checkpoint is None:
        return (
            'Its weights were not loaded: teacher_ckpt is None. Set it to the '
            "checkpoint of the teacher's training."
        )
    if seen.best_score is None or seen.best_score < 2 * MIN_SCORE:
        return (
            'Such scores are those of weights that were not loaded or never trained: '
            f'see whether {checkpoint} (teacher_ckpt) is the file meant and whether '
            'teacher_may_differ lets too many keys differ. No usual normalisation or '
            'channel order helps.'
        )
    return (
        f'Likely causes: {checkpoint} (teacher_ckpt) is another file than meant, or '
        'the teacher was trained for other classes, other images, another scale or an '
        "unusual normalisation; see the config named by 'teacher'. No usual "
        'normalisation or channel order helps.'
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


def _better_normalisation(algorithm: Any, look: Callable[[], Findings]) -> str | None:
    """Let the teacher look at other colours; None if it finds nothing in any."""
    teacher, source = algorithm.frozen_teacher, algorithm.data_preprocessor
    target: Any = getattr(teacher.model, 'data_preprocessor', None)
    if not hasattr(target, 'pad_value'):  # has no settings: shares the student's
        target = source
    if not hasattr(source, 'pad_value') or 1 in _channels(source, target):
        return None
    tried = []
    for normalisation in _others(Normalisation.of(target)):
        options: dict[str, Any] = normalisation._asdict()
        standing_in = DetDataPreprocessor(**options, pad_value=target.pad_value)
        with teacher.normalised_as(source, standing_in.to(source.device)):
            tried.append((look(), normalisation))
    seen, best = max(tried, key=lambda pair: pair[0].found)
    if seen.recall < _EVIDENCE:
        return None
    stated = Normalisation.of(target)
    swap = ', that is with the channels swapped' if best[:2] == stated[:2] else ''
    return (
        f'With {best} instead of {stated}{swap}, it finds {seen.found} of '
        f'{seen.objects}: set data_preprocessor of the teacher to what it was trained '
        'with.'
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
