"""Average precision of rotated boxes as DOTA counts it, at ten IoU thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from terminaltables import AsciiTable  # type: ignore[import-untyped]

from aerialkd.errors import ConfigError
from aerialkd.evaluation.ground_truth import GroundTruth, ground_truth_of, to_numpy
from aerialkd.evaluation.metric_inputs import check_labels, class_names
from aerialkd.evaluation.rotated_matching import Matches, match_image
from aerialkd.evaluation.rotated_tables import RotatedTables, rotated_tables
from aerialkd.registry import METRICS
from aerialkd.structures.corners import corners


@METRICS.register_module()
class RotatedMetric(BaseMetric):
    """mAP50, AP75 and mAP over IoU .50:.05:.95, of the area and of 11 points.

    Args:
        classwise: also return and print the measures of each class.
        collect_device: of mmengine's ``BaseMetric``.
        prefix: in front of the keys.
    """

    default_prefix = 'rotated'

    def __init__(
        self,
        classwise: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.classwise = classwise

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Match each image's detections; only what the measures need is kept.

        Args:
            data_batch: not used.
            data_samples: ``DetDataSample`` or their dicts, with ``pred_instances``
                in pixels of the original image.
        """
        del data_batch
        for sample in data_samples:
            if not isinstance(sample, Mapping):
                sample = sample.to_dict()
            found = sample['pred_instances']
            boxes, labels = to_numpy(found['bboxes']), to_numpy(found['labels'])
            check_labels(self, labels)
            truth = ground_truth_of(sample, rotated=True)
            self.results.append(
                _matched(
                    _corners(boxes, sample), labels, to_numpy(found['scores']), truth
                )
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Measures over all images; see the class."""
        classes = class_names(self)
        tables = rotated_tables(results, len(classes))
        metrics = tables.summary()
        if self.classwise:
            for label, name in enumerate(classes):
                values = tables.of_class(label)
                metrics |= {f'{name}/{k}': v for k, v in values.items()}
            MMLogger.get_current_instance().info('\n' + _printed(tables, classes))
        return metrics


def _corners(boxes: np.ndarray, sample: Mapping[str, Any]) -> np.ndarray:
    if boxes.ndim == 2 and boxes.shape[1] not in (5, 8):
        raise ConfigError('TODO')
    if not np.isfinite(boxes).all():
        raise ConfigError('TODO')
    if not len(boxes):
        return np.zeros((0, 8))
    return corners(boxes).reshape(-1, 8)


def _matched(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, truth: GroundTruth
) -> Matches:
    gt_boxes = np.concatenate([truth.boxes, truth.ignored_boxes])
    gt_labels = np.concatenate([truth.labels, truth.ignored_labels])
    gt_ignored = np.arange(len(gt_boxes)) >= len(truth.boxes)
    return match_image(boxes, labels, scores, gt_boxes, gt_labels, gt_ignored)


def _printed(tables: RotatedTables, classes: Sequence[str]) -> str:
    """One row a class: objects, detections, recall at IoU .5, average precision."""
    columns = ('AP50', 'AP50_11', 'AP75', 'AP')
    rows = [['class', 'objects', 'detections', 'recall at .5', *columns]]
    for label, name in enumerate(classes):
        values = tables.of_class(label)
        shares = [tables.recall_50(label), *(values[k] for k in columns)]
        counts = [tables.objects[label], tables.detections[label]]
        texts = [f'{share:.3f}' if share >= 0 else '-' for share in shares]
        rows.append([name, *map(str, counts), *texts])
    return str(AsciiTable(rows).table)
