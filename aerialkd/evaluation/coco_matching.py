"""COCO's average precision and recall at any number of detections an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

AREAS = {'': 0, '_S': 1, '_M': 2, '_L': 3}  # COCO's order: all, small, medium, large
_IOU_50, _IOU_75 = 0, 5
MISSING = -1.0


@dataclass(frozen=True)
class ImageResult:
    """Ground truth and detections of one image, in pixels of the original.

    Attributes:
        gt_boxes: (g, 4), x1 y1 x2 y2.
        gt_labels: (g,).
        gt_crowd: (g,) bool; detections on such a box do not count (COCO's crowd).
        boxes: (n, 4), x1 y1 x2 y2, by falling score.
        labels: (n,).
        scores: (n,).
    """

    gt_boxes: NDArray
    gt_labels: NDArray
    gt_crowd: NDArray
    boxes: NDArray
    labels: NDArray
    scores: NDArray


@dataclass(frozen=True)
class CocoTables:
    """What COCO's accumulation leaves.

    Attributes:
        precision: (T, R, K, A) over IoU thresholds, recalls, classes, areas.
        recall: (T, K, A); both are -1 where a class has no ground truth.
    """

    precision: NDArray
    recall: NDArray

    def summary(self) -> dict[str, float]:
        """AP, AP50, AP75, AP_S/M/L, AR, AR_S/M/L in [0, 1]; -1 without ground truth."""
        result = {
            'AP': _mean(self.precision[..., 0]),
            'AP50': _mean(self.precision[_IOU_50, ..., 0]),
            'AP75': _mean(self.precision[_IOU_75, ..., 0]),
        }
        for suffix in ('_S', '_M', '_L'):
            result[f'AP{suffix}'] = _mean(self.precision[..., AREAS[suffix]])
        for suffix, area in AREAS.items():
            result[f'AR{suffix}'] = _mean(self.recall[..., area])
        return result

    def of_class(self, label: int) -> dict[str, float]:
        """AP and AP50 of one class in [0, 1]; -1 without ground truth."""
        return {
            'AP': _mean(self.precision[:, :, label, 0]),
            'AP50': _mean(self.precision[_IOU_50, :, label, 0]),
        }


def coco_tables(
    images: Sequence[ImageResult], num_classes: int, max_dets: int
) -> CocoTables:
    """Match detections to ground truth as COCO does, in memory and without output.

    Args:
        images: one result an image.
        num_classes: K; labels are 0..K-1.
        max_dets: how many detections of an image count, over all classes
            together (COCO's own limit is per class).
    """
    ground_truth = COCO(_coco_dataset(images, num_classes))
    detections = ground_truth.loadRes(_detection_rows(images, max_dets))
    evaluation = COCOeval_faster(
        ground_truth, detections, iouType='bbox', print_function=_silent
    )
    evaluation.params.maxDets = [max_dets]
    evaluation.evaluate()
    evaluation.accumulate()
    return CocoTables(
        precision=np.asarray(evaluation.eval['precision'])[..., 0],
        recall=np.asarray(evaluation.eval['recall'])[..., 0],
    )


def _coco_dataset(images: Sequence[ImageResult], num_classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images):
        boxes = _xywh(image.gt_boxes)
        for box, area, label, crowd in zip(
            boxes.tolist(),
            boxes[:, 2:].prod(axis=1).tolist(),
            image.gt_labels.tolist(),
            image.gt_crowd.tolist(),
            strict=True,
        ):
            annotations.append(
                {
                    'id': len(annotations) + 1,  # COCO takes id 0 for "not matched"
                    'image_id': image_id,
                    'category_id': label,
                    'bbox': box,
                    'area': area,
                    'iscrowd': int(crowd),
                }
            )
    return {
        'images': [{'id': index} for index in range(len(images))],
        'annotations': annotations,
        'categories': [{'id': k, 'name': str(k)} for k in range(num_classes)],
    }


def _detection_rows(
    images: Sequence[ImageResult], max_dets: int
) -> NDArray[np.float64]:
    """(n, 7): image, x, y, width, height, score, label of the best of each image."""
    rows = [
        np.column_stack(
            [
                np.full(len(image.scores[:max_dets]), index),
                _xywh(image.boxes[:max_dets]),
                image.scores[:max_dets],
                image.labels[:max_dets],
            ]
        )
        for index, image in enumerate(images)
    ]
    return np.concatenate([np.zeros((0, 7)), *rows])


def _xywh(boxes: NDArray) -> NDArray[np.float64]:
    boxes = boxes.astype(np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _mean(values: NDArray) -> float:
    valid = values[values > MISSING]
    return float(valid.mean()) if valid.size else MISSING


def _silent(*_: Any) -> None:
    pass
