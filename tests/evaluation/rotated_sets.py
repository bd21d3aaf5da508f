"""Random sets of rotated boxes, and DOTA's protocol in the plainest possible way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

CLASSES = ('plane', 'ship', 'harbor', 'bridge')  # no bridge anywhere
THRESHOLDS = [(50 + 5 * index) / 100 for index in range(10)]


@dataclass
class Image:
    """Objects as corners, (g, 8); detections as centre, size, angle, (n, 5)."""

    gt_boxes: NDArray
    gt_labels: NDArray
    gt_ignored: NDArray
    boxes: NDArray
    labels: NDArray
    scores: NDArray


def random_set(seed: int, images: int = 50, objects: int = 12, found: int = 30) -> list:
    """Images with difficult and repeated objects, several detections of one, noise.

    The first image has no detection, the second no object, the third neither.
    """
    rng = np.random.default_rng(seed)
    numbers = [(objects, 0), (0, found), (0, 0)] + [(objects, found)] * (images - 3)
    return [random_image(rng, *number) for number in numbers]


def random_image(rng: np.random.Generator, objects: int, found: int) -> Image:
    size = rng.uniform(6, 40, (objects, 2))
    turned = rng.uniform(-1.6, 1.6, (objects, 1))
    gt = np.concatenate([rng.uniform(0, 200, (objects, 2)), size, turned], axis=1)
    labels = rng.integers(0, 3, objects)
    if objects:
        near = rng.integers(0, objects, found)
        boxes = gt[near] + rng.normal(0, [2, 2, 2, 2, 0.08], (found, 5))
        boxes[:, 2:4] = np.abs(boxes[:, 2:4])
        other = rng.integers(0, 3, found)
        found_labels = np.where(rng.random(found) < 0.85, labels[near], other)
        gt[1], labels[1] = gt[0], labels[0]  # annotated twice
    else:
        boxes = rng.uniform(5, 100, (found, 5))
        found_labels = rng.integers(0, 3, found)
    corners = np.array([rectangle(b) for b in gt]).reshape(-1, 8)
    if objects:
        corners += rng.normal(0, 0.7, corners.shape)  # no rectangles
        corners[1] = corners[0]
    # Few different scores: many are equal.
    scores = rng.integers(1, 60, found) / 60
    ignored = rng.random(objects) < 0.2
    ignored[1:2] = ignored[:1]
    return Image(corners, labels, ignored, boxes, found_labels, scores)


def rectangle(box: NDArray) -> list[float]:
    """Corners of centre, size, angle in radians: the picture's x axis turns to y."""
    x, y, w, h, angle = map(float, box)
    points = []
    for right, down in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        points.append(x + right * w * np.cos(angle) - down * h * np.sin(angle))
        points.append(y + right * w * np.sin(angle) + down * h * np.cos(angle))
    return points


def overlap(one: NDArray, other: NDArray) -> float:
    first, second = (
        Polygon(np.reshape(points, (4, 2)).tolist()) for points in (one, other)
    )
    if not first.is_valid or not second.is_valid:
        first, second = first.convex_hull, second.convex_hull
    union = first.union(second).area
    return first.intersection(second).area / union if union else 0.0


class Oracle:
    """Average precision of one class, detection by detection.

    Args:
        images: of the set.
        label: of the class.
    """

    def __init__(self, images: list[Image], label: int) -> None:
        self.objects = sum(
            int(k == label and not difficult)
            for image in images
            for k, difficult in zip(image.gt_labels, image.gt_ignored, strict=True)
        )
        self.rows = []  # score, image, its best object, IoU, whether it is difficult
        for number, image in enumerate(images):
            for box, k, score in zip(
                image.boxes, image.labels, image.scores, strict=True
            ):
                if k == label:
                    best = self._best(image, label, np.array(rectangle(box)))
                    self.rows.append((float(score), number, *best))
        self.rows.sort(key=lambda row: -row[0])  # stable

    @staticmethod
    def _best(image: Image, label: int, box: NDArray) -> tuple[int, float, bool]:
        best, largest = -1, 0.0
        for index, truth in enumerate(image.gt_boxes):
            if image.gt_labels[index] != label:
                continue
            iou = overlap(box, truth)
            if iou > largest:
                best, largest = index, iou
        return best, largest, best >= 0 and bool(image.gt_ignored[best])

    def precision_recall(self, threshold: float) -> tuple[list, list]:
        taken, right, wrong, precision, recall = set(), 0, 0, [], []
        for _, image, best, iou, difficult in self.rows:
            if iou >= threshold and difficult:
                continue
            if iou >= threshold and (image, best) not in taken:
                taken.add((image, best))
                right += 1
            else:
                wrong += 1
            precision.append(right / (right + wrong))
            recall.append(right / self.objects if self.objects else -1.0)
        return precision, recall

    def area(self, threshold: float) -> float:
        precision, recall = self.precision_recall(threshold)
        total, before = 0.0, 0.0
        for index, reached in enumerate(recall):
            total += (reached - before) * max(precision[index:])
            before = reached
        return total if self.objects else -1.0

    def eleven(self, threshold: float) -> float:
        precision, recall = self.precision_recall(threshold)
        total = 0.0
        for point in np.arange(0, 1.01, 0.1):
            reached = [p for p, r in zip(precision, recall, strict=True) if r >= point]
            total += max(reached, default=0.0) / 11
        return total if self.objects else -1.0
