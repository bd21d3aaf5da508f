"""DOTA's matching of rotated boxes, and average precision from it.

Protocol: the evaluation of Xia et al. 2018, "DOTA: A Large-scale Dataset for Object
Detection in Aerial Images", which is PASCAL VOC's with polygons for boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from aerialkd.structures.corners import corners

IOUS = np.linspace(0.5, 0.95, 10)
# 0.3 is 0.30000000000000004 here, as in DOTA's devkit: recall 3/10 does not reach it.
ELEVEN_RECALLS = np.arange(0, 1.01, 0.1)
RIGHT, WRONG, NOT_COUNTED = 1, 0, -1


@dataclass(frozen=True)
class Matches:
    """Each detection's object, of one image or of many.

    Attributes:
        labels: of the detections, (n,).
        scores: of the detections, (n,).
        iou: with the object, (n,) in [0, 1].
        best: index of the object, (n,); -1 where no object of the class overlaps.
        gt_labels: of the objects, (g,).
        gt_ignored: difficult objects, (g,) bool.
    """

    labels: NDArray
    scores: NDArray
    iou: NDArray
    best: NDArray
    gt_labels: NDArray
    gt_ignored: NDArray

    def states(self, thresholds: Sequence[float] | NDArray = IOUS) -> NDArray[np.int8]:
        """What each detection is at each IoU threshold.

        With an IoU of at least the threshold (DOTA's devkit: more than it; mmrotate
        and COCO as here) the best-scored detection of an object is right and all
        others on it are wrong. On a difficult object none counts. Of equal scores
        the first is the best.

        Returns:
            ``RIGHT``, ``WRONG`` or ``NOT_COUNTED``, (T, n).
        """
        states = np.full((len(thresholds), len(self.scores)), WRONG, np.int8)
        order = np.argsort(-self.scores, kind='stable')
        has_object = self.best[order] >= 0
        order = order[has_object]
        difficult = self.gt_ignored[self.best[order]]
        for state, threshold in zip(states, thresholds, strict=True):
            hit = self.iou[order] >= threshold
            state[order[hit & difficult]] = NOT_COUNTED
            taking = order[hit & ~difficult]
            _, first = np.unique(self.best[taking], return_index=True)
            state[taking[first]] = RIGHT
        return states

    def of_class(self, label: int) -> tuple[NDArray[np.intp], int]:
        """Detections of a class by falling score, and the number of its objects."""
        mine = np.flatnonzero(self.labels == label)
        order = np.argsort(-self.scores[mine], kind='stable')
        objects = (self.gt_labels == label) & ~self.gt_ignored
        return mine[order], int(objects.sum())


def match_image(
    boxes: NDArray,
    labels: NDArray,
    scores: NDArray,
    gt_boxes: NDArray,
    gt_labels: NDArray,
    gt_ignored: NDArray,
) -> Matches:
    """Give each detection the object of its class with the largest IoU.

    Difficult objects are among them, and none is taken away by another detection. Of
    objects with the same IoU the first is given.

    Args:
        boxes: (n, 4), (n, 5) or (n, 8), as for :func:`polygons`.
        labels: (n,).
        scores: (n,).
        gt_boxes: (g, 4), (g, 5) or (g, 8).
        gt_labels: (g,).
        gt_ignored: (g,) bool.

    Example:
        >>> box = np.array([[20.0, 20.0, 8.0, 4.0, 0.5]])
        >>> one, none = np.array([0]), np.array([False])
        >>> match_image(box, one, np.array([0.9]), box, one, none).states([0.5])
        array([[1]], dtype=int8)
    """
    found, truth = polygons(boxes), polygons(gt_boxes)
    iou, best = np.zeros(len(found)), np.full(len(found), -1)
    detection, target = shapely.STRtree(truth).query(found)  # the bounds meet
    same = labels[detection] == gt_labels[target]
    detection, target = detection[same], target[same]
    values = polygon_iou(found[detection], truth[target])
    order = np.lexsort([target, -values, detection])
    matched, first = np.unique(detection[order], return_index=True)
    iou[matched], best[matched] = values[order][first], target[order][first]
    return Matches(labels, scores, iou, best, gt_labels, gt_ignored)


def joined(images: Sequence[Matches]) -> Matches:
    """The matches of many images as one, in their order."""
    counts = [len(image.gt_labels) for image in images]
    starts = np.cumsum([0, *counts])[:-1]
    best = [
        np.where(image.best < 0, -1, image.best + start)
        for image, start in zip(images, starts, strict=True)
    ]
    parts = {
        name: np.concatenate([getattr(image, name) for image in images])
        for name in ('labels', 'scores', 'iou', 'gt_labels', 'gt_ignored')
    }
    return Matches(best=np.concatenate(best), **parts)


def polygons(boxes: NDArray) -> NDArray[np.object_]:
    """Boxes as shapely's polygons in double precision.

    Outlines that cross themselves (bow ties, and what has no area) become their
    convex hull.

    Args:
        boxes: (n, 4), (n, 5) or (n, 8), as for
            :func:`~aerialkd.structures.corners.corners`; finite.

    Raises:
        ShapeError: for another shape.
    """
    shapes = np.asarray(shapely.polygons(corners(boxes)))
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.convex_hull(shapes[broken])
    return shapes


def polygon_iou(
    shapes: NDArray[np.object_], others: NDArray[np.object_]
) -> NDArray[np.float64]:
    """IoU of pairs, (n,) in [0, 1]; 0 where both have no area."""
    shared = shapely.area(shapely.intersection(shapes, others))
    union = shapely.area(shapes) + shapely.area(others) - shared
    return np.divide(shared, union, out=np.zeros(len(union)), where=union > 0)


def curve(
    states: NDArray, objects: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall behind each detection that counts.

    Args:
        states: of one class at one threshold by falling score, (n,).
        objects: their number, not 0.

    Returns:
        The best precision at this recall or a higher one, (m,); recall, (m,).
    """
    right = np.cumsum(states[states != NOT_COUNTED] == RIGHT)
    precision = right / np.arange(1, len(right) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1], right / objects


def precision_at(
    recalls: NDArray, precision: NDArray, recall: NDArray
) -> NDArray[np.float64]:
    """A :func:`curve`'s precision at given recalls; 0 where it does not reach them."""
    at = np.searchsorted(recall, recalls, side='left')
    return np.asarray(np.append(precision, 0.0)[at])


def area_under(precision: NDArray, recall: NDArray) -> float:
    """Average precision of VOC 2010: the area under a :func:`curve`."""
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def eleven_points(precision: NDArray, recall: NDArray) -> float:
    """Average precision of VOC 2007: the mean at recalls 0, .1, ..., 1."""
    return float(precision_at(ELEVEN_RECALLS, precision, recall).mean())
