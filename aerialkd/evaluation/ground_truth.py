"""Ground truth of a data sample, in pixels of the original image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerialkd.errors import ConfigError


class GroundTruth(NamedTuple):
    """Boxes are (n, 4), x1 y1 x2 y2; labels are (n,)."""

    boxes: NDArray
    labels: NDArray
    ignored_boxes: NDArray
    ignored_labels: NDArray


def ground_truth_of(sample: Mapping[str, Any]) -> GroundTruth:
    """Boxes that count and boxes that are ignored.

    Args:
        sample: a data sample's dict, with ``ori_shape`` and either the data set's
            own ``instances`` or ``gt_instances`` and ``ignored_instances``.

    Raises:
        ConfigError: if there is no ground truth, or it reaches over the original
            image, hence is in the pixels of a resized one.
    """
    if 'instances' in sample:
        return _from_instances(sample['instances'])
    if 'gt_instances' not in sample or 'bboxes' not in sample['gt_instances']:
        raise ConfigError(
            "test pipeline: got samples without ground truth, expected 'instances'; "
            "add 'instances' to the meta_keys of PackDetInputs."
        )
    truth = GroundTruth(
        *_from_tensors(sample['gt_instances']),
        *_from_tensors(sample.get('ignored_instances', {})),
    )
    _check_scale(truth, sample)
    return truth


def to_numpy(values: Any) -> NDArray:
    """A tensor, box structure or sequence as an array on the CPU."""
    values = getattr(values, 'tensor', values)
    return (
        values.detach().cpu().numpy() if hasattr(values, 'detach') else np.array(values)
    )


def _from_instances(instances: Sequence[Mapping[str, Any]]) -> GroundTruth:
    boxes = np.array([i['bbox'] for i in instances], dtype=np.float64).reshape(-1, 4)
    labels = np.array([i['bbox_label'] for i in instances], dtype=np.int64)
    ignored = np.array([i.get('ignore_flag', 0) for i in instances], dtype=bool)
    return GroundTruth(
        boxes[~ignored], labels[~ignored], boxes[ignored], labels[ignored]
    )


def _from_tensors(instances: Mapping[str, Any]) -> tuple[NDArray, NDArray]:
    boxes = to_numpy(instances.get('bboxes', ())).reshape(-1, 4).astype(np.float64)
    labels = to_numpy(instances.get('labels', np.full(len(boxes), -1)))
    return boxes, labels.astype(np.int64)


def _check_scale(truth: GroundTruth, sample: Mapping[str, Any]) -> None:
    boxes = np.concatenate([truth.boxes, truth.ignored_boxes])
    height, width = sample['ori_shape'][:2]
    # One pixel of slack: float32 corners, and data sets that do not cut boxes.
    if boxes.size and (boxes[:, 2:] > (width + 1, height + 1)).any():
        raise ConfigError(
            f'test pipeline: got a ground-truth box up to {boxes[:, 2:].max(0)}, '
            f'expected none outside the original image of {width}x{height} pixels '
            f"(img_id {sample.get('img_id')}); add 'instances' to the meta_keys of "
            'PackDetInputs, or put LoadAnnotations behind Resize.'
        )
