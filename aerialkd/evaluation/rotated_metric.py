"""Average precision of rotated boxes as DOTA counts it, at ten IoU thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from numpy.typing import NDArray
from terminaltables import AsciiTable  # type: ignore[import-untyped]

from aerialkd.errors import BoxTypeError, ConfigError
from aerialkd.evaluation.ground_truth import ground_truth_of, to_numpy
from aerialkd.evaluation.metric_inputs import (
    check_format_only,
    check_labels,
    class_names,
)
from aerialkd.evaluation.metric_names import class_part
from aerialkd.evaluation.rotated_matching import Matches
from aerialkd.evaluation.rotated_tables import RotatedTables, rotated_tables
from aerialkd.evaluation.scene_measures import (
    MergeOptions,
    SceneTruth,
    Tile,
    matched,
    merge_options,
)
from aerialkd.evaluation.task1 import SceneDetections, write_task1
from aerialkd.evaluation.tile_merging import merge_tiles, tile_origin
from aerialkd.registry import METRICS
from aerialkd.structures.corners import corners


@dataclass(frozen=True)  # mmengine turns named tuples into tuples
class _Result:
    """Of one image; what the options do not ask for is None."""

    tile: Tile | None
    matches: Matches | None


@METRICS.register_module()
class RotatedMetric(BaseMetric):
    """mAP50, AP75 and mAP over IoU .50:.05:.95 of rotated boxes, by DOTA's protocol.

    The protocol is PASCAL VOC's with polygons for boxes (Xia et al. 2018, "DOTA: A
    Large-scale Dataset for Object Detection in Aerial Images"), see
    :mod:`aerialkd.evaluation.rotated_matching`. Each detection is given the object of
    its class in its image with the largest IoU, taken or not, difficult or not. With
    an IoU of at least the threshold the best-scored detection of an object is right,
    all others on it are wrong, and none on a difficult object counts; below it a
    detection is wrong. (DOTA's devkit has "more than the threshold".) Difficult
    objects are no part of the recall. IoU is that of the polygons, in double precision.

    ``mAP50``, ``AP75`` and ``mAP`` are areas under the curve (VOC 2010), ``mAP50_11``,
    ``AP75_11`` and ``mAP_11`` means at 11 recalls (VOC 2007; DOTA's server); all are
    means over the classes with objects, in [0, 1], or -1 where there is none. With
    ``classwise`` there are ``ship/AP50``, ``ship/AP75``, ``ship/AP`` and
    ``ship/AP50_11`` too, and a table is printed.

    Detections are (n, 5), centre, size and angle in radians, or (n, 8), corners. Ground
    truth comes from the key ``instances``, in pixels of the original image whatever
    the pipeline does, and keeps its corners; ask for it with
    ``PackDetInputs(meta_keys=(..., 'instances'))``. Without that key ``gt_instances``
    and ``ignored_instances`` are used, in the pixels that test pipelines give them
    (``LoadAnnotations`` behind ``Resize``: those of the original image).

    With ``merging`` the images are tiles, named as ``tools/split_dota.py``, mmrotate or
    DOTA's devkit do. They are measured as they are; their detections are also brought
    to the scenes, freed of duplicates and measured against the scenes' own annotations
    (``scenes/mAP50`` and so on). Scenes without any tile in the test data are left out.
    A scene of which some tiles are missing counts whole, so that what lies elsewhere is
    missed. Both are logged.

    Args:
        classwise: also return and print the measures of each class.
        merging: ``dict(iou_threshold=0.1, scenes=dict(img_path='val/images', ann_path=
            'val/labelTxt', version='1.0'))``, each part optional but the paths:
            overlap above which a detection is a duplicate, and the scenes in DOTA's
            layout (``classes``: those of their files, if they are neither the version's
            nor all the detector's). Without ``scenes`` only files are written.
        outfile_prefix: write ``PREFIX_tiles/Task1_CLASS.txt``, with ``merging``
            ``PREFIX_scenes/Task1_CLASS.txt`` too, as DOTA's server takes them.
        format_only: write the files and measure nothing (no ground truth needed).
        collect_device: of mmengine's ``BaseMetric``.
        prefix: in front of the keys.

    Raises:
        ConfigError: for options that do not fit, ground truth that is missing or
            scaled, labels that the data set does not have, detections that are not
            finite, tiles of unknown scenes.
        BoxTypeError: for boxes that are not rotated.
        AnnotationError: for ground truth that cannot be used, and images that are no
            tiles but are to be merged.

    Example:
        >>> test_evaluator = dict(type='aerialkd.RotatedMetric', classwise=True)
    """

    default_prefix = 'rotated'

    def __init__(
        self,
        classwise: bool = False,
        merging: Mapping[str, Any] | None = None,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_format_only(self, format_only, outfile_prefix)
        self.classwise = classwise
        self.merging: MergeOptions | None = None
        if merging is not None:
            self.merging = merge_options(merging, writes=outfile_prefix is not None)
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Match each image's detections to its objects.

        Args:
            data_batch: not used.
            data_samples: ``DetDataSample`` or their dicts, with ``pred_instances``
                in pixels of the original image.
        """
        del data_batch
        for sample in data_samples:
            if not isinstance(sample, Mapping):
                sample = sample.to_dict()
            found = self._detections(sample)
            if self.merging:
                tile_origin(found.name)  # a wrong name is found at once
            matches = None
            if not self.format_only:
                truth = ground_truth_of(sample, rotated=True)
                matches = matched(found, truth)
            height, width = sample['ori_shape'][:2]
            keeps = self.merging or self.outfile_prefix
            tile = Tile(found, (width, height)) if keeps else None
            self.results.append(_Result(tile, matches))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Measures over all images; see the class."""
        tiles = [result.tile for result in results]
        self._write('tiles', [tile.detections for tile in tiles if tile])
        metrics = {}
        if not self.format_only:
            metrics = self._measures([result.matches for result in results], '')
        if self.merging:
            scenes = merge_tiles(
                [tile.detections for tile in tiles], self.merging.iou_threshold
            )
            self._write('scenes', scenes)
            if self.merging.scenes and not self.format_only:
                truth = SceneTruth(self.merging.scenes, class_names(self))
                truth.report_gaps(tiles)
                metrics |= self._measures(truth.matches(scenes), 'scenes/')
        return metrics

    def _detections(self, sample: Mapping[str, Any]) -> SceneDetections:
        found = sample['pred_instances']
        labels = to_numpy(found['labels']).astype(np.int64)
        check_labels(self, labels)
        boxes, scores = to_numpy(found['bboxes']), to_numpy(found['scores'])
        name = Path(sample.get('img_path', str(sample['img_id']))).stem
        return SceneDetections(name, _corners(boxes, scores, name), labels, scores)

    def _write(self, kind: str, images: Sequence[SceneDetections]) -> None:
        if self.outfile_prefix:
            folder = f'{self.outfile_prefix}_{kind}'
            write_task1(folder, images, class_names(self))
            MMLogger.get_current_instance().info(
                f'Detections of {len(images)} {kind}: {folder}/Task1_*.txt'
            )

    def _measures(self, images: Sequence[Matches], part: str) -> dict[str, float]:
        classes = class_names(self)
        tables = rotated_tables(images, len(classes))
        metrics = {f'{part}{k}': v for k, v in tables.summary().items()}
        if self.classwise:
            for label, name in enumerate(classes):
                values = tables.of_class(label)
                of_class = f'{part}{class_part(name)}'
                metrics |= {f'{of_class}/{k}': v for k, v in values.items()}
            table = _printed(tables, classes, part.rstrip('/'))
            MMLogger.get_current_instance().info('\n' + table)
        return metrics


def _corners(boxes: NDArray, scores: NDArray, name: str) -> NDArray[np.float64]:
    """(n, 8)."""
    if not len(boxes):
        return np.zeros((0, 8))
    if boxes.shape[1] not in (5, 8):
        raise BoxTypeError(
            f'RotatedMetric: got detections of {boxes.shape[1]} numbers in {name}, '
            'expected 5 or 8; VisDroneMetric and CocoMetric measure horizontal boxes.'
        )
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        raise ConfigError(
            f'RotatedMetric: got a detection that is not finite in {name}, expected '
            'finite boxes and scores; the training has diverged, lower its learning '
            'rate or clip its gradients.'
        )
    return corners(boxes).reshape(-1, 8)


def _printed(tables: RotatedTables, classes: Sequence[str], title: str) -> str:
    """One row a class: objects, detections, recall at IoU .5, average precision."""
    columns = ('AP50', 'AP50_11', 'AP75', 'AP')
    rows = [['class', 'objects', 'detections', 'recall at .5', *columns]]
    for label, name in enumerate(classes):
        values = tables.of_class(label)
        shares = [tables.recall_50(label), *(values[k] for k in columns)]
        counts = [tables.objects[label], tables.detections[label]]
        texts = [f'{share:.3f}' if share >= 0 else '-' for share in shares]
        rows.append([name, *map(str, counts), *texts])
    return str(AsciiTable(rows, title or None).table)
