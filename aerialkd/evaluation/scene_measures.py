"""Detections of merged tiles against the objects of whole scenes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from mmengine.logging import print_log

from aerialkd.datasets.dota import DOTADataset
from aerialkd.errors import ConfigError
from aerialkd.evaluation.ground_truth import GroundTruth, ground_truth_of
from aerialkd.evaluation.rotated_matching import Matches, match_image
from aerialkd.evaluation.task1 import SceneDetections
from aerialkd.evaluation.tile_merging import tile_origin

_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class MergeOptions:
    """How tiles become scenes.

    Attributes:
        iou_threshold: overlap above which a detection is a duplicate.
        scenes: ``img_path``, ``ann_path`` and perhaps ``version`` or ``classes`` of the
            scenes.
    """

    iou_threshold: float
    scenes: Mapping[str, Any] | None


@dataclass(frozen=True)
class Tile:
    """Detections of a tile, and its width and height in pixels."""

    detections: SceneDetections
    size: tuple[int, int]


class SceneTruth:
    """Annotations of whole scenes in DOTA's layout.

    Args:
        options: ``img_path``, ``ann_path`` and perhaps ``version`` or ``classes``, all
            that the files have.
        classes: of the detector; labels follow them.

    Raises:
        ConfigError: if a class is unknown.
        AnnotationError: if images and annotations do not pair, or one is bad.
    """

    def __init__(self, options: Mapping[str, Any], classes: Sequence[str]) -> None:
        folders = {k: options[k] for k in ('img_path', 'ann_path')}
        dataset = DOTADataset(
            data_prefix=folders,
            version=options.get('version', '1.0'),
            classes=options.get('classes'),
            metainfo={'classes': tuple(classes)},
            test_mode=True,
        )
        infos = map(dataset.get_data_info, range(len(dataset)))
        self.folder = options['img_path']
        self.infos = {Path(info['img_path']).stem: info for info in infos}

    def matches(self, scenes: Sequence[SceneDetections]) -> list[Matches]:
        """Detections of scenes, matched to their objects.

        Raises:
            ConfigError: if one of them is not in the folder.
        """
        self._check_known([scene.name for scene in scenes])
        return [
            matched(scene, ground_truth_of(self.infos[scene.name], rotated=True))
            for scene in scenes
        ]

    def report_gaps(self, tiles: Sequence[Tile]) -> None:
        """Warn of scenes that tiles do not cover.

        Raises:
            ConfigError: if a tile belongs to no scene of the folder.
        """
        windows: dict[str, list[Any]] = {}
        for tile in tiles:
            scene, x, y = tile_origin(tile.detections.name)
            window = shapely.box(x, y, x + tile.size[0], y + tile.size[1])
            windows.setdefault(scene, []).append(window)
        self._check_known(windows)
        absent = sorted(set(self.infos) - set(windows))
        if absent:
            _warn(
                f'{len(absent)} of {len(self.infos)} scenes in {self.folder} have no '
                f'tile in the test data and are not measured: {_first(absent)}.'
            )
        partly = [name for name in windows if not self._covered(name, windows[name])]
        if partly:
            _warn(
                f'{len(partly)} of {len(windows)} scenes are not covered by the tiles '
                'in the test data; their other objects count as missed: '
                f'{_first(partly)}.'
            )

    def _covered(self, name: str, windows: Sequence[Any]) -> bool:
        scene = shapely.box(0, 0, self.infos[name]['width'], self.infos[name]['height'])
        return bool(shapely.union_all(windows).covers(scene))

    def _check_known(self, names: Sequence[str] | Mapping[str, Any]) -> None:
        unknown = sorted(set(names) - set(self.infos))
        if unknown:
            raise ConfigError(
                f'RotatedMetric.merging.scenes: got tiles of {len(unknown)} scenes '
                f'that {self.folder} does not have ({_first(unknown)}), expected all '
                'there; name the folder that the test tiles were cut from.'
            )


def matched(found: SceneDetections, truth: GroundTruth) -> Matches:
    """Detections of an image, matched to its objects; ignored ones are difficult.

    Of a difficult and another object with the same IoU the other is taken, as mmrotate
    does (DOTA's devkit: the first in the file).
    """
    return match_image(
        found.boxes,
        found.labels,
        found.scores,
        np.concatenate([truth.boxes, truth.ignored_boxes]),
        np.concatenate([truth.labels, truth.ignored_labels]),
        np.repeat([False, True], [len(truth.boxes), len(truth.ignored_boxes)]),
    )


def merge_options(merging: Mapping[str, Any], writes: bool) -> MergeOptions:
    """Check ``RotatedMetric.merging`` before anything is evaluated.

    Args:
        merging: as the metric is given it.
        writes: whether the metric writes files.

    Raises:
        ConfigError: for unknown keys, a threshold outside 0 to 1, folders that do not
            exist, or when there is neither a scene to measure nor a file to write.
    """
    _check_keys('merging', merging, {'iou_threshold', 'scenes'}, set())
    threshold, scenes = merging.get('iou_threshold', 0.1), merging.get('scenes')
    if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise ConfigError(
            f'RotatedMetric.merging.iou_threshold: got {threshold!r}, expected 0 to 1.'
        )
    if scenes is None and not writes:
        raise ConfigError(
            'RotatedMetric.merging: got neither scenes nor outfile_prefix, expected '
            'one of them; set scenes=dict(img_path=..., ann_path=...) to measure whole '
            'scenes, or outfile_prefix to write their detections.'
        )
    if scenes is not None:
        if not isinstance(scenes, Mapping):
            raise ConfigError(
                f'RotatedMetric.merging.scenes: got {scenes!r}, expected '
                'dict(img_path=..., ann_path=...); correct it.'
            )
        needed = {'img_path', 'ann_path'}
        others = {k: v for k, v in scenes.items() if k != 'classes'}
        _check_keys('merging.scenes', others, needed | {'version'}, needed)
        for key in sorted(needed):
            if not Path(scenes[key]).is_dir():
                raise ConfigError(
                    f'RotatedMetric.merging.scenes.{key}: got {scenes[key]}, expected '
                    'a folder that exists; correct the path.'
                )
    return MergeOptions(float(threshold), scenes)


def _check_keys(
    where: str, given: Mapping[str, Any], known: set[str], needed: set[str]
) -> None:
    if not needed <= set(given) <= known:
        least = f' with {" and ".join(sorted(needed))}' if needed else ''
        raise ConfigError(
            f'RotatedMetric.{where}: got the keys {sorted(given)}, expected '
            f'{", ".join(sorted(known))}{least}; correct them.'
        )


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)


def _first(names: Sequence[str]) -> str:
    more = ', ...' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + more
