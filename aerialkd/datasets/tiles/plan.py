"""What the tiles of a scene will hold, before anything is written."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.dota_format import DotaBox, format_line, read_annotations
from aerialkd.datasets.tiles.objects import Placement, place_objects
from aerialkd.datasets.tiles.scenes import Scene
from aerialkd.datasets.tiles.settings import TileSettings
from aerialkd.datasets.tiles.windows import Window, scene_windows, tile_name
from aerialkd.errors import AnnotationError

CUT_BY_TILE = 2  # `difficult` of such parts in DOTA's devkit


@dataclass(frozen=True)
class Tile:
    """A tile and its objects, in its own pixels."""

    name: str
    window: Window
    boxes: tuple[DotaBox, ...]

    @property
    def label(self) -> str:
        """The text of its annotation file."""
        return ''.join(map(format_line, self.boxes))


@dataclass(frozen=True)
class ScenePlan:
    """The tiles of a scene.

    Attributes:
        scene: where they come from.
        windows: of all tiles.
        tiles: those to write: all, or those with objects.
        boxes: all objects of the scene.
        bad_lines: messages of the annotations that are left out.
        placed: what of which object is in which window.
        kept: (p,), whether that is enough of it.
    """

    scene: Scene
    windows: tuple[Window, ...]
    tiles: tuple[Tile, ...]
    boxes: tuple[DotaBox, ...]
    bad_lines: tuple[str, ...]
    placed: Placement
    kept: NDArray[np.bool_]


def read_boxes(scene: Scene, settings: TileSettings) -> tuple[list[DotaBox], list[str]]:
    """All objects of a scene, and the messages of the annotations that are left out.

    Raises:
        AnnotationError: if an annotation is bad and ``settings`` make that an error, or
            all are.
    """
    if scene.label is None:
        return [], []
    bad: list[AnnotationError] = []
    problems = bad if settings.bad_annotations == 'skip' else None
    boxes = read_annotations(scene.label, scene.size, settings.classes, problems)
    return boxes, list(map(str, bad))


def plan_scene(scene: Scene, settings: TileSettings) -> ScenePlan:
    """Decide which objects each tile of a scene holds, and their corners there.

    Raises:
        AnnotationError: as for :func:`read_boxes`.
    """
    boxes, bad_lines = read_boxes(scene, settings)
    windows = scene_windows(scene.size, settings.sizes, settings.gaps)
    placed = place_objects(
        corners_of(boxes), windows, scene.size, clip=settings.cut == 'clip'
    )
    kept = placed.reaching(settings.kept_share)
    contents: list[list[DotaBox]] = [[] for _ in windows]
    for p in np.flatnonzero(kept | (settings.small_parts == 'difficult')):
        contents[placed.tiles[p]].append(_box(placed, p, kept[p], boxes))
    tiles = tuple(
        Tile(tile_name(scene.name, window), window, _once(content))
        for window, content in zip(windows, contents, strict=True)
        if content or settings.empty_tiles == 'keep'
    )
    return ScenePlan(
        scene,
        tuple(windows),
        tiles,
        tuple(boxes),
        tuple(bad_lines),
        placed,
        kept,
    )


def corners_of(boxes: Sequence[DotaBox]) -> NDArray[np.float64]:
    """(n, 8), the corners of boxes."""
    return np.array([box.corners for box in boxes], np.float64).reshape(-1, 8)


def _once(boxes: Sequence[DotaBox]) -> tuple[DotaBox, ...]:
    """Boxes that differ in the tile's file; two objects may show it the same part."""
    found: dict[Hashable, DotaBox] = {}
    for box in boxes:
        written = tuple(round(value, 4) for value in box.corners)
        found.setdefault(replace(box, corners=written).identity, box)
    return tuple(found.values())


def _box(placed: Placement, p: int, kept: bool, boxes: Sequence[DotaBox]) -> DotaBox:
    box = replace(boxes[placed.objects[p]], corners=tuple(placed.corners[p].tolist()))
    return box if kept else replace(box, difficult=CUT_BY_TILE)
