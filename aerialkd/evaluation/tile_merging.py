"""Detections of tiles become those of their scenes: shifted, duplicates suppressed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from aerialkd.datasets.tiles.windows import tile_origin
from aerialkd.errors import ConfigError
from aerialkd.evaluation.task1 import SceneDetections

__all__ = ['merge_tiles', 'polygon_nms', 'tile_origin']


def merge_tiles(
    tiles: Sequence[SceneDetections], iou_threshold: float = 0.1
) -> list[SceneDetections]:
    """Detections of whole scenes from those of their tiles.

    Args:
        tiles: in pixels of the tile, whose name says where it lies.
        iou_threshold: overlap with a better detection of the same class above which
            one is a duplicate. 0.1 is the default of DOTA's devkit; objects of DOTA
            hardly overlap.

    Returns:
        Scenes by name, also those without a detection; detections by falling score,
        in the order of the tiles where the scores are equal.

    Raises:
        AnnotationError: if a name does not say where the tile lies.
        ConfigError: if the threshold is not in 0 to 1.
    """
    if not 0 <= iou_threshold <= 1:
        raise ConfigError(f'iou_threshold: got {iou_threshold}, expected 0 to 1.')
    scenes: dict[str, list[SceneDetections]] = {}
    for tile in tiles:
        name, x, y = tile_origin(tile.name)
        boxes = tile.boxes.astype(np.float64) + np.tile((x, y), 4)
        scenes.setdefault(name, []).append(
            SceneDetections(name, boxes, tile.labels, tile.scores)
        )
    return [_merged(name, scenes[name], iou_threshold) for name in sorted(scenes)]


def polygon_nms(
    boxes: NDArray[np.float64], scores: NDArray[np.floating], iou_threshold: float
) -> NDArray[np.int64]:
    """Suppress boxes that overlap a better one that is not suppressed itself.

    The same as going through the boxes by falling score, in exact polygons and float64.
    mmcv's ``nms_rotated`` compares every box with every other and takes minutes for
    the tens of thousands of a large scene; here only neighbours are compared.

    Args:
        boxes: (n, 8), convex; of other corners the hull counts.
        scores: (n,). Among equal ones the box with the larger smallest rectangle
            around it is better: a whole object rather than one that a tile cut.
        iou_threshold: overlap above which the worse one is suppressed.

    Returns:
        Indices of the others, in their order.
    """
    hulls = shapely.convex_hull(shapely.multipoints(boxes.reshape(-1, 4, 2)))
    # A tile cuts an object to a rectangle, which may exceed an outline that is none.
    sizes = shapely.area(shapely.minimum_rotated_rectangle(hulls))
    order = np.lexsort((-sizes, -scores))
    hulls = hulls[order]
    areas = shapely.area(hulls)
    better, worse = shapely.STRtree(hulls).query(hulls)
    better, worse = better[better < worse], worse[better < worse]
    shared = shapely.area(shapely.intersection(hulls[better], hulls[worse]))
    union = areas[better] + areas[worse] - shared
    rivals = shared > iou_threshold * union
    kept = _undefeated(len(boxes), better[rivals], worse[rivals])
    return np.sort(order[kept])


def _undefeated(
    n: int, better: NDArray[np.int64], worse: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(n,), which boxes no kept box suppresses, given pairs of rivals.

    A box is kept once all its better rivals are known to be suppressed; each round
    settles at least the best of those that are open.
    """
    kept, opened = np.zeros(n, np.bool_), np.ones(n, np.bool_)
    while opened.any():
        challenged = np.zeros(n, np.bool_)
        challenged[worse[opened[better]]] = True
        won = opened & ~challenged
        kept |= won
        opened &= ~won
        opened[worse[won[better]]] = False
    return kept


def _merged(
    name: str, tiles: Sequence[SceneDetections], iou_threshold: float
) -> SceneDetections:
    boxes = np.concatenate([tile.boxes for tile in tiles])
    labels = np.concatenate([tile.labels for tile in tiles])
    scores = np.concatenate([tile.scores for tile in tiles])
    kept: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        survivors = polygon_nms(boxes[members], scores[members], iou_threshold)
        kept.append(members[survivors])
    chosen = np.sort(np.concatenate(kept))
    chosen = chosen[np.argsort(-scores[chosen], kind='stable')]
    return SceneDetections(name, boxes[chosen], labels[chosen], scores[chosen])
