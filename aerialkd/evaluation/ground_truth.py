"""Ground truth of a data sample, in pixels of the original image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerialkd.errors import AnnotationError, BoxTypeError, ConfigError
from aerialkd.structures.corners import corners


class GroundTruth(NamedTuple):
    """Boxes are (n, 4), x1 y1 x2 y2, or (n, 8), four corners; labels are (n,)."""

    boxes: NDArray
    labels: NDArray
    ignored_boxes: NDArray
    ignored_labels: NDArray


def ground_truth_of(sample: Mapping[str, Any], rotated: bool = False) -> GroundTruth:
    """Boxes that count and boxes that are ignored.

    Args:
        sample: a data sample's dict, with ``ori_shape`` and either the data set's
            own ``instances`` or ``gt_instances`` and ``ignored_instances``.
        rotated: whether boxes have 5 numbers (centre, size, angle in radians) or 8
            (corners), and are returned as corners; otherwise they have 4.

    Raises:
        ConfigError: if there is no ground truth, or it reaches over the original
            image (rotated boxes: lies outside it), hence is in the pixels of a
            resized one.
        BoxTypeError: for boxes of another kind.
        AnnotationError: for boxes with numbers that are not finite.
    """
    if 'instances' in sample:
        return _from_instances(sample, rotated)
    if 'gt_instances' not in sample or 'bboxes' not in sample['gt_instances']:
        raise ConfigError(
            "test pipeline: got samples without ground truth, expected 'instances'; "
            "add 'instances' to the meta_keys of PackDetInputs."
        )
    truth = GroundTruth(
        *_from_tensors(sample['gt_instances'], rotated),
        *_from_tensors(sample.get('ignored_instances', {}), rotated),
    )
    _check_scale(truth, sample)
    return truth


def to_numpy(values: Any) -> NDArray:
    """A tensor, box structure or sequence as an array on the CPU."""
    values = getattr(values, 'tensor', values)
    return (
        values.detach().cpu().numpy() if hasattr(values, 'detach') else np.array(values)
    )


def _from_instances(sample: Mapping[str, Any], rotated: bool) -> GroundTruth:
    instances = sample['instances']
    boxes = _of_kind([i['bbox'] for i in instances], rotated)
    labels = np.array([i['bbox_label'] for i in instances], dtype=np.int64)
    ignored = np.array([i.get('ignore_flag', 0) for i in instances], dtype=bool)
    return GroundTruth(
        boxes[~ignored], labels[~ignored], boxes[ignored], labels[ignored]
    )


def _from_tensors(
    instances: Mapping[str, Any], rotated: bool
) -> tuple[NDArray, NDArray]:
    boxes = _of_kind(to_numpy(instances.get('bboxes', ())), rotated)
    labels = to_numpy(instances.get('labels', np.full(len(boxes), -1)))
    return boxes, labels.astype(np.int64)


def _of_kind(boxes: Any, rotated: bool) -> NDArray[np.float64]:
    """(n, 4), or the corners of rotated boxes, (n, 8)."""
    columns = sorted({len(box) for box in boxes})
    if not columns:
        return np.zeros((0, 8 if rotated else 4))
    expected = (5, 8) if rotated else (4,)
    if len(columns) > 1 or columns[0] not in expected:
        listed = ' or '.join(map(str, expected))
        raise BoxTypeError(
            f'ground truth: got boxes of {" and ".join(map(str, columns))} numbers, '
            f'expected {listed}; RotatedMetric measures rotated boxes, VisDroneMetric '
            'horizontal ones.'
        )
    array = np.array(boxes, dtype=np.float64)
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array).all(axis=1)][0]
        raise AnnotationError(
            f'ground truth: got the box {bad.tolist()}, expected finite numbers; '
            'correct the annotation.'
        )
    return corners(array).reshape(-1, 8) if rotated else array


def _check_scale(truth: GroundTruth, sample: Mapping[str, Any]) -> None:
    boxes = np.concatenate([truth.boxes, truth.ignored_boxes])
    if not len(boxes):
        return
    height, width = sample['ori_shape'][:2]
    # Tiles keep objects whole that reach over them: only one altogether outside is
    # a mistake. Horizontal boxes are cut.
    rotated = boxes.shape[1] == 8
    reach = boxes.reshape(-1, 4, 2).min(axis=1) if rotated else boxes[:, 2:]
    # One pixel of slack: float32 corners, and data sets that do not cut boxes.
    if (reach > (width + 1, height + 1)).any():
        raise ConfigError(
            f'test pipeline: got a ground-truth box {"from" if rotated else "up to"} '
            f'{reach.max(0)}, '
            f'expected none outside the original image of {width}x{height} pixels '
            f"(img_id {sample.get('img_id')}); add 'instances' to the meta_keys of "
            'PackDetInputs, or put LoadAnnotations behind Resize.'
        )
