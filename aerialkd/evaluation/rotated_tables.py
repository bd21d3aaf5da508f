"""Average precision of rotated boxes by IoU threshold and class, and its means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialkd.evaluation.coco_matching import MISSING
from aerialkd.evaluation.rotated_matching import (
    IOUS,
    Matches,
    area_under,
    curve,
    eleven_points,
    joined,
)

_IOU_50, _IOU_75 = 0, 5


@dataclass(frozen=True)
class RotatedTables:
    """What the matching comes to, at the thresholds ``IOUS``.

    Attributes:
        area: average precision of VOC 2010, (T, K).
        eleven: average precision of VOC 2007, (T, K).
        recall: of all detections, (T, K); all three are -1 where a class has no
            object that counts.
        objects: that count, (K,).
        detections: (K,).
    """

    area: NDArray
    eleven: NDArray
    recall: NDArray
    objects: NDArray
    detections: NDArray

    def summary(self) -> dict[str, float]:
        """Means over the classes with objects, in [0, 1]; -1 where there is none.

        ``mAP50``, ``AP75`` and ``mAP`` (over the thresholds as well) of the area,
        then the same with ``_11``.
        """
        there = self.objects > 0
        return {
            f'{name}{suffix}': value
            for suffix, table in (('', self.area), ('_11', self.eleven))
            for name, value in zip(
                ('mAP50', 'AP75', 'mAP'), _three(table[:, there]), strict=True
            )
        }

    def of_class(self, label: int) -> dict[str, float]:
        """``AP50``, ``AP75``, ``AP`` and ``AP50_11`` in [0, 1]; -1 without objects."""
        values = _three(self.area[:, label])
        named = dict(zip(('AP50', 'AP75', 'AP'), values, strict=True))
        return named | {'AP50_11': float(self.eleven[_IOU_50, label])}

    def recall_50(self, label: int) -> float:
        """Recall of a class at IoU .5; -1 without objects."""
        return float(self.recall[_IOU_50, label])


def rotated_tables(images: Sequence[Matches], num_classes: int) -> RotatedTables:
    """Average precision of every class at every threshold.

    Args:
        images: matches of each image.
        num_classes: K; labels are 0..K-1.
    """
    matches = joined(images)
    states = matches.states(IOUS)
    area, eleven, recall = np.full((3, len(IOUS), num_classes), MISSING)
    detections, objects = np.zeros((2, num_classes), np.int64)
    for label in range(num_classes):
        mine, objects[label] = matches.of_class(label)
        detections[label] = len(mine)
        if not objects[label]:
            continue
        for index, state in enumerate(states[:, mine]):
            precision, reached = curve(state, int(objects[label]))
            area[index, label] = area_under(precision, reached)
            eleven[index, label] = eleven_points(precision, reached)
            recall[index, label] = reached[-1] if len(reached) else 0.0
    return RotatedTables(area, eleven, recall, objects, detections)


def _three(table: NDArray) -> tuple[float, float, float]:
    """Mean at .5, at .75 and over all thresholds; (T,) or (T, K)."""
    if not table.size:
        return MISSING, MISSING, MISSING
    means = table[_IOU_50].mean(), table[_IOU_75].mean(), table.mean()
    return float(means[0]), float(means[1]), float(means[2])
