"""How much of the ground truth a teacher's detections find."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialkd.evaluation.ground_truth import to_numpy
from aerialkd.evaluation.rotated_matching import match_image

IOU = 0.5
# Recall below which a teacher is suspicious whatever the reason, and from which on it
# sees: chance is asked below only. In frames of one scene chance finds as much as it.
LITTLE, ENOUGH = 0.1, 0.3
# MMDetection's usual score_thr. Below it anything may lie on an object by chance: a
# test_cfg with a threshold of 0 keeps whatever an untrained head puts out.
MIN_SCORE = 0.05


@dataclass(frozen=True)
class Findings:
    """What detections find in some images.

    Attributes:
        images: their number.
        objects: of their ground truth.
        found: objects with a detection of their class on them.
        located: objects with a detection of whatever class on them.
        called: number of objects by their class and that of a detection on them.
        detections: those that score ``MIN_SCORE`` or more; the others find nothing.
        best_score: of all detections; None without any.
    """

    images: int
    objects: int
    found: int
    located: int
    called: Counter[tuple[int, int]]
    detections: int
    best_score: float | None

    @property
    def recall(self) -> float:
        """Part of the objects that is found; 0 without objects."""
        return self.found / max(1, self.objects)

    def __str__(self) -> str:
        return (
            f'{self.found} of {self.objects} objects (IoU {IOU}) in {self.images} '
            'training images'
        )

    def scores(self) -> str:
        """A clause about the detections."""
        if self.best_score is None:
            return 'there is not a single detection'
        return (
            f'{self.detections} detections score {MIN_SCORE} or more, the best '
            f'{self.best_score:.3f}'
        )


def findings(pairs: Iterable[tuple[Any, Any]], by_class: bool = True) -> Findings:
    """Compare detections with the ground truth.

    Args:
        pairs: ground truth (``bboxes``, ``labels``) and detections (``scores`` too) of
            each image, in the same pixels; boxes of any kind.
        by_class: whether a detection of another class finds nothing.
    """
    each = [_in_image(truth, found, by_class) for truth, found in pairs]
    best = [f.best_score for f in each if f.best_score is not None]
    return Findings(
        images=len(each),
        objects=sum(f.objects for f in each),
        found=sum(f.found for f in each),
        located=sum(f.located for f in each),
        called=sum((f.called for f in each), Counter()),
        detections=sum(f.detections for f in each),
        best_score=max(best, default=None),
    )


def by_chance(pairs: Sequence[tuple[Any, Any]], by_class: bool = True) -> Findings:
    """What each image's detections find in the next image; nothing in one alone."""
    if len(pairs) < 2:
        return findings([])
    truths, detections = zip(*pairs, strict=True)
    others = zip(truths[1:] + truths[:1], detections, strict=True)
    return findings(others, by_class)


def is_noise(seen: Findings, chance: Findings) -> bool:
    """Whether chance may have found as much: three standard deviations of its count."""
    most = chance.found + 3 * math.sqrt(chance.found + 1)
    return seen.recall < ENOUGH and seen.found <= most


def is_blind(seen: Findings, chance: Findings) -> bool:
    """Whether a teacher that finds ``seen`` sees nothing.

    Args:
        seen: what its detections find.
        chance: what they find in other images; see :func:`by_chance`.
    """
    twice = seen.recall < LITTLE or seen.found <= 2 * chance.found
    return is_noise(seen, chance) and twice


def _in_image(truth: Any, found: Any, by_class: bool) -> Findings:
    gt_boxes, gt_labels = to_numpy(truth.bboxes), to_numpy(truth.labels)
    boxes, labels, scores = map(to_numpy, (found.bboxes, found.labels, found.scores))
    usable = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    best = float(scores[usable].max()) if usable.any() else None
    usable &= scores >= MIN_SCORE
    boxes, labels, scores = boxes[usable], labels[usable], scores[usable]

    def on_objects(labels: NDArray, gt_labels: NDArray) -> tuple[NDArray, NDArray]:
        """Detections and the objects that they lie on."""
        none_ignored = np.zeros(len(gt_labels), bool)
        matches = match_image(boxes, labels, scores, gt_boxes, gt_labels, none_ignored)
        hits = np.flatnonzero(matches.iou >= IOU)
        return hits, matches.best[hits]

    detections, located = on_objects(np.zeros_like(labels), np.zeros_like(gt_labels))
    _, same_class = on_objects(labels, gt_labels)
    called = set(zip(located.tolist(), labels[detections].tolist(), strict=True))
    return Findings(
        images=1,
        objects=len(gt_labels),
        found=len(np.unique(same_class if by_class else located)),
        located=len(np.unique(located)),
        called=Counter((int(gt_labels[i]), label) for i, label in called),
        detections=len(boxes),
        best_score=best,
    )
