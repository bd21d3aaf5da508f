"""Which boxes were found, missed or made up; precision and recall from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from mmdet.evaluation.functional import bbox_overlaps
from numpy.typing import NDArray

from aerialkd.engine.evaluated import EvaluatedImage, EvaluatedRun
from aerialkd.evaluation.coco_matching import (
    AREAS,
    MISSING,
    CocoTables,
    ImageResult,
    coco_tables,
)
from aerialkd.evaluation.ignored_regions import in_ignored_regions
from aerialkd.evaluation.rotated_matching import (
    IOUS,
    NOT_COUNTED,
    RIGHT,
    WRONG,
    Matches,
    curve,
    joined,
    match_image,
    polygons,
    precision_at,
)
from aerialkd.evaluation.rotated_tables import RotatedTables, rotated_tables

IOU = 0.5
RECALLS = np.linspace(0, 1, 101)
SIZES = {'small': '_S', 'medium': '_M', 'large': '_L', 'all': ''}  # keys of AREAS
_SIDES = {'': (0, np.inf), '_S': (0, 32), '_M': (32, 96), '_L': (96, np.inf)}


@dataclass(frozen=True)
class Outcome:
    """What became of one image's boxes above a score.

    Attributes:
        found: detections that match an object.
        missed: objects without a detection.
        false: detections that match nothing; those on ignored boxes are neither.
        objects: how many there are.
    """

    found: NDArray
    missed: NDArray
    false: NDArray
    objects: int

    @property
    def score(self) -> int:
        """Objects found minus false detections."""
        return len(self.found) - len(self.false)


def counted_images(run: EvaluatedRun) -> list[EvaluatedImage]:
    """What counts: with ignored regions, boxes inside them are taken out."""
    limit = run.max_dets
    if not run.ignored_regions:
        return [
            _detections(image, np.arange(len(image.scores))) for image in run.images
        ]
    images = []
    for image in run.images:
        regions = image.gt_boxes[image.gt_ignored]
        shape = image.size[::-1]
        kept = np.flatnonzero(~in_ignored_regions(image.boxes, regions, shape))
        stays = ~image.gt_ignored & ~in_ignored_regions(image.gt_boxes, regions, shape)
        truth = {k: getattr(image, k)[stays] for k in _TRUTH}
        images.append(replace(_detections(image, kept[:limit]), **truth))
    return images


def tables_of(run: EvaluatedRun) -> CocoTables:
    """Precision over IoU thresholds, recalls, classes and areas.

    Horizontal boxes: COCO's matching. Rotated ones: DOTA's.
    """
    images = counted_images(run)
    if run.rotated:
        return _rotated_tables(images, len(run.classes))
    results = [
        ImageResult(i.gt_boxes, i.gt_labels, i.gt_ignored, i.boxes, i.labels, i.scores)
        for i in images
    ]
    return coco_tables(results, len(run.classes), max(run.max_dets, 1))


def class_averages(run: EvaluatedRun) -> dict[str, float]:
    """AP of each class in [0, 1], as VisDroneMetric and RotatedMetric measure it.

    -1 for a class without objects.
    """
    tables: CocoTables | RotatedTables
    if run.rotated:
        matches = [_rotated_matches(image) for image in counted_images(run)]
        tables = rotated_tables(matches, len(run.classes))
    else:
        tables = tables_of(run)
    return {name: tables.of_class(k)['AP'] for k, name in enumerate(run.classes)}


def box_counts(images: Sequence[EvaluatedImage], classes: int) -> NDArray[np.int64]:
    """Number of objects that count, (classes, areas) with areas as in ``AREAS``."""
    labels = np.concatenate([i.gt_labels[~i.gt_ignored] for i in images])
    sides = np.concatenate([_sides(i.gt_boxes[~i.gt_ignored]) for i in images])
    counts = np.zeros((classes, len(AREAS)), np.int64)
    for name, column in AREAS.items():
        low, high = _SIDES[name]
        inside = labels[(sides >= low) & (sides < high)]
        counts[:, column] = np.bincount(inside, minlength=classes)
    return counts


def best_threshold(images: Sequence[EvaluatedImage]) -> float:
    """The score with the highest F1 over all images, at IoU .5; 0 without a match."""
    matched = [match(image)[0] for image in images]
    state = np.concatenate(matched) if matched else np.zeros(0)
    scores = np.concatenate([image.scores for image in images])
    objects = sum(int((~image.gt_ignored).sum()) for image in images)
    order = np.argsort(-scores, kind='stable')
    right, wrong = np.cumsum(state[order] == 1), np.cumsum(state[order] == 0)
    if not len(order) or not right[-1]:
        return 0.0
    return float(scores[order][np.argmax(2 * right / (objects + right + wrong))])


def outcome(image: EvaluatedImage, threshold: float) -> Outcome:
    """Match the detections of at least a score to the objects."""
    image = _detections(image, np.flatnonzero(image.scores >= threshold))
    state, taken = match(image)
    counts = ~image.gt_ignored
    return Outcome(
        found=image.boxes[state == 1],
        missed=image.gt_boxes[counts & ~taken],
        false=image.boxes[state == 0],
        objects=int(counts.sum()),
    )


def taken_objects(image: EvaluatedImage, threshold: float) -> NDArray[np.bool_]:
    """Which ground-truth boxes the detections of at least a score find, (g,)."""
    return match(_detections(image, np.flatnonzero(image.scores >= threshold)))[1]


def of_size(boxes: NDArray, area: str) -> NDArray[np.bool_]:
    """Which boxes have COCO's area ``'_S'``, ``'_M'``, ``'_L'`` or any, (n,)."""
    return ~_outside(_sides(boxes), area)


def match(image: EvaluatedImage) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Match by falling score, each to the free object of its class that it covers best.

    Rotated boxes are matched as DOTA does, see
    :class:`~aerialkd.evaluation.rotated_matching.Matches`.

    Returns:
        For each detection 1 (an object), 0 (nothing) or -1 (an ignored box), (n,);
        for each ground-truth box whether it was taken, (g,).
    """
    state = np.zeros(len(image.boxes), np.int64)
    taken = np.zeros(len(image.gt_boxes), bool)
    if not len(state) or not len(taken):
        return state, taken
    if image.boxes.shape[1] != 4:
        matches = _rotated_matches(image)
        state = matches.states([IOU])[0].astype(np.int64)
        taken[matches.best[state == RIGHT]] = True
        return state, taken
    iou = _overlaps(image)
    iou[image.labels[:, None] != image.gt_labels[None]] = 0
    for index in np.argsort(-image.scores, kind='stable'):
        row = np.where(taken | image.gt_ignored, 0, iou[index])
        best = int(row.argmax())
        if row[best] >= IOU:
            state[index], taken[best] = 1, True
        elif (iou[index][image.gt_ignored] >= IOU).any():
            state[index] = -1
    return state, taken


_TRUTH = ('gt_boxes', 'gt_labels', 'gt_ignored')


def _detections(image: EvaluatedImage, index: NDArray) -> EvaluatedImage:
    return replace(
        image,
        boxes=image.boxes[index],
        labels=image.labels[index],
        scores=image.scores[index],
    )


def _sides(boxes: NDArray) -> NDArray[np.float64]:
    """Square root of the area."""
    return np.asarray(np.sqrt(shapely.area(polygons(boxes))))


def _overlaps(image: EvaluatedImage) -> NDArray[np.float64]:
    """IoU of (n, g) boxes; with an ignored one the covered share of the detection."""
    iou = bbox_overlaps(image.boxes, image.gt_boxes).astype(np.float64)
    iof = bbox_overlaps(image.boxes, image.gt_boxes, mode='iof')
    return np.where(image.gt_ignored[None], iof, iou)


def _rotated_matches(image: EvaluatedImage) -> Matches:
    return match_image(
        image.boxes,
        image.labels,
        image.scores,
        image.gt_boxes,
        image.gt_labels,
        image.gt_ignored,
    )


def _rotated_tables(images: Sequence[EvaluatedImage], classes: int) -> CocoTables:
    """DOTA's matching, accumulated as COCO does: by area, at 101 recalls.

    Objects of other sizes are as difficult ones, false detections of other sizes do
    not count.
    """
    matches = joined([_rotated_matches(image) for image in images])
    sides = np.concatenate([_sides(image.boxes) for image in images])
    gt_sides = np.concatenate([_sides(image.gt_boxes) for image in images])
    precision = np.full((len(IOUS), len(RECALLS), classes, len(AREAS)), MISSING)
    recall = np.full((len(IOUS), classes, len(AREAS)), MISSING)
    for name, area in AREAS.items():
        ignored = matches.gt_ignored | _outside(gt_sides, name)
        limited = replace(matches, gt_ignored=ignored)
        states = limited.states(IOUS)
        states[(states == WRONG) & _outside(sides, name)] = NOT_COUNTED
        for k in range(classes):
            mine, objects = limited.of_class(k)
            if not objects:
                continue
            for index, state in enumerate(states[:, mine]):
                best, reached = curve(state, objects)
                precision[index, :, k, area] = precision_at(RECALLS, best, reached)
                recall[index, k, area] = reached[-1] if len(reached) else 0.0
    return CocoTables(precision=precision, recall=recall)


def _outside(sides: NDArray, area: str) -> NDArray[np.bool_]:
    low, high = _SIDES[area]
    return np.asarray((sides < low) | (sides >= high))
