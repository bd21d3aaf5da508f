"""COCO's measures as VisDrone counts them: per image, without ignored regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from terminaltables import AsciiTable  # type: ignore[import-untyped]

from aerialkd.errors import ConfigError
from aerialkd.evaluation.coco_matching import CocoTables, ImageResult, coco_tables
from aerialkd.evaluation.ground_truth import GroundTruth, ground_truth_of, to_numpy
from aerialkd.evaluation.ignored_regions import in_ignored_regions
from aerialkd.evaluation.metric_inputs import (
    check_format_only,
    check_labels,
    class_names,
)
from aerialkd.evaluation.metric_names import NamedMeasures, class_part, limited
from aerialkd.evaluation.result_files import Detections, write_result_files
from aerialkd.registry import METRICS


@METRICS.register_module()
class VisDroneMetric(BaseMetric):
    """AP, AP50, AP75, AP_S/M/L, AR and AR_S/M/L at 100 and 500 detections an image.

    The matching is COCO's: IoU .5:.05:.95, 101 recall points, areas up to 32**2
    and up to 96**2 pixels of the original image, classes without ground truth
    left out of the mean. Two rules are those of the VisDrone2018-DET-toolkit:

    - Boxes of which at least half lies in the ignored regions take no part,
      detections and ground truth alike (``dropObjectsInIgr``).
    - ``_at_k`` counts the k best of the *remaining* detections of an image, all
      classes together (``calcAccuracy``), where COCO's ``maxDets`` counts each
      class by itself. The benchmark reports AP at 500.

    (The toolkit itself averages AP over all ten classes and interpolates at every
    recall; expect small differences from a number that it prints.)

    Ground truth comes from the key ``instances``, in pixels of the original image
    whatever the pipeline does; ask for it with ``PackDetInputs(meta_keys=(...,
    'instances'))``. Without that key ``gt_instances`` and ``ignored_instances``
    are used, in the pixels that mmdet's test pipelines give them
    (``LoadAnnotations`` behind ``Resize``: those of the original image).

    Data sets without ignored regions work alike. Keys are ``AP_at_100``,
    ``AR_S_at_500``, ..., and with ``classwise`` ``car/AP50_at_100``, all in [0, 1]; -1
    where there is no ground truth. (0.1.0 called them ``AP@100``, which still finds
    them.)

    Args:
        max_dets: numbers of detections an image, rising.
        classwise: also return and print AP and AP50 of each class.
        ignored_regions: whether ignored instances are regions as in VisDrone;
            ``False`` makes them COCO's crowds of their class.
        outfile_prefix: write ``PREFIX.bbox.json`` (COCO) and
            ``PREFIX_visdrone/IMAGE.txt`` (the benchmark's submission format)
            with the ``max(max_dets)`` best detections of each image.
        format_only: write the files and measure nothing (no ground truth needed).
        collect_device: of mmengine's ``BaseMetric``.
        prefix: in front of the keys.

    Raises:
        ConfigError: for options that do not fit, ground truth that is missing or
            scaled, labels that the data set does not have.
    """

    default_prefix = 'visdrone'

    def __init__(
        self,
        max_dets: Sequence[int] = (100, 500),
        classwise: bool = False,
        ignored_regions: bool = True,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not max_dets or list(max_dets) != sorted(set(max_dets)) or max_dets[0] < 1:
            raise ConfigError(
                f'VisDroneMetric.max_dets: got {max_dets}, expected rising positive '
                'numbers such as (100, 500).'
            )
        check_format_only(self, format_only, outfile_prefix)
        self.max_dets = tuple(max_dets)
        self.classwise = classwise
        self.ignored_regions = ignored_regions
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep what the measures need of each image.

        Args:
            data_batch: not used.
            data_samples: ``DetDataSample`` or their dicts, with ``pred_instances``
                in pixels of the original image.
        """
        del data_batch
        for sample in data_samples:
            if not isinstance(sample, Mapping):
                sample = sample.to_dict()
            detections = self._detections(sample)
            result = None
            if not self.format_only:
                truth = ground_truth_of(sample)
                result = self._image_result(detections, truth, sample['ori_shape'][:2])
            kept = detections.best(self.max_dets[-1]) if self.outfile_prefix else None
            self.results.append((kept, result))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Measures over all images; see the class."""
        detections, images = zip(*results, strict=True)
        classes = class_names(self)
        if self.outfile_prefix:
            ids = self.dataset_meta.get('category_ids', range(1, len(classes) + 1))
            write_result_files(self.outfile_prefix, detections, ids)
            MMLogger.get_current_instance().info(
                f'Detections of {len(detections)} images: {self.outfile_prefix}'
                f'_visdrone/*.txt, {self.outfile_prefix}.bbox.json'
            )
        if self.format_only:
            return {}
        metrics = NamedMeasures()
        for max_dets in self.max_dets:
            tables = coco_tables(images, len(classes), max_dets)
            summary = tables.summary()
            metrics |= {limited(k, max_dets): v for k, v in summary.items()}
            if self.classwise:
                metrics |= self._class_metrics(tables, max_dets)
        return metrics

    def evaluate(self, size: int) -> dict:
        """As of mmengine's ``BaseMetric``; names of 0.1.0 find measures too."""
        return NamedMeasures(super().evaluate(size))

    def _detections(self, sample: Mapping[str, Any]) -> Detections:
        predictions = sample['pred_instances']
        scores = to_numpy(predictions['scores'])
        order = np.argsort(-scores, kind='stable')
        labels = to_numpy(predictions['labels'])[order]
        check_labels(self, labels)
        return Detections(
            img_id=sample['img_id'],
            name=Path(sample.get('img_path', str(sample['img_id']))).stem,
            boxes=to_numpy(predictions['bboxes']).reshape(-1, 4)[order],
            labels=labels,
            scores=scores[order],
        )

    def _image_result(
        self, detections: Detections, truth: GroundTruth, shape: tuple[int, int]
    ) -> ImageResult:
        if not self.ignored_regions:
            boxes = np.concatenate([truth.boxes, truth.ignored_boxes])
            labels = np.concatenate([truth.labels, truth.ignored_labels])
            crowd = np.arange(len(boxes)) >= len(truth.boxes)
            return ImageResult(boxes, labels, crowd, *detections.arrays)
        keep_gt = ~in_ignored_regions(truth.boxes, truth.ignored_boxes, shape)
        keep = ~in_ignored_regions(detections.boxes, truth.ignored_boxes, shape)
        gt_boxes = truth.boxes[keep_gt]
        return ImageResult(
            gt_boxes,
            truth.labels[keep_gt],
            np.zeros(len(gt_boxes), dtype=bool),
            *(array[keep][: self.max_dets[-1]] for array in detections.arrays),
        )

    def _class_metrics(self, tables: CocoTables, max_dets: int) -> dict[str, float]:
        metrics: dict[str, float] = {}
        rows = [['class', *(limited(k, max_dets) for k in ('AP', 'AP50'))]]
        for label, name in enumerate(class_names(self)):
            values = tables.of_class(label)
            part = class_part(name)
            metrics |= {f'{part}/{limited(k, max_dets)}': v for k, v in values.items()}
            rows.append(
                [name, *(f'{v:.3f}' if v >= 0 else '-' for v in values.values())]
            )
        MMLogger.get_current_instance().info('\n' + AsciiTable(rows).table)
        return metrics
