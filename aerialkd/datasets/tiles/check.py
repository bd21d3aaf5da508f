"""Reading tiles back from the disk and comparing them with their scenes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from aerialkd.datasets.dota_format import DotaBox, read_annotations
from aerialkd.datasets.images import IMAGE_SUFFIXES, find_files, read_image
from aerialkd.datasets.tiles.objects import whole_somewhere
from aerialkd.datasets.tiles.plan import ScenePlan, Tile, corners_of
from aerialkd.datasets.tiles.scenes import IMAGES
from aerialkd.datasets.tiles.settings import TileSettings
from aerialkd.errors import AnnotationError

LABELS = 'labelTxt'
_TOLERANCE = 1e-3  # pixels; annotation files have four decimals


def check_tiles(plan: ScenePlan, out: Path, settings: TileSettings) -> None:
    """Check that the tiles of a scene are there and hold what they should.

    Args:
        plan: of the scene.
        out: the folder with the tiles.
        settings: with which they were made.

    Raises:
        AnnotationError: names the file that is missing, damaged or of other content,
            or the scene of which an uncut object is in no tile.
    """
    found: list[tuple[Tile, list[DotaBox]]] = []
    for tile in plan.tiles:
        _check_image(tile, out / IMAGES / f'{tile.name}.{settings.image_format}')
        if plan.scene.label is not None:
            file = out / LABELS / f'{tile.name}.txt'
            found.append((tile, _read_label(tile, file, settings)))
    _check_whole_objects(plan, found)


def check_names(names: set[str], out: Path, settings: TileSettings) -> None:
    """Check that the folder holds these tiles and no other.

    Args:
        names: of all tiles.
        out: the folder with the tiles.
        settings: with which they were made.

    Raises:
        AnnotationError: names a folder, and a file too many or missing.
    """
    suffixes = {IMAGES: IMAGE_SUFFIXES}
    if settings.labels is not None:
        suffixes[LABELS] = frozenset({'.txt'})
    for folder, endings in suffixes.items():
        there = set(find_files(out / folder, endings))
        if there != names:
            missing, more = sorted(names - there), sorted(there - names)
            raise AnnotationError(
                f'{out / folder}: other tiles than computed: got {len(there)}, '
                f'expected {len(names)}; missing: {_some(missing)}; too many: '
                f'{_some(more)}; remove what is too many and split again.'
            )


def _check_image(tile: Tile, file: Path) -> None:
    size = read_image(file).size
    expected = tile.window.size
    if size != (expected, expected):
        raise AnnotationError(
            f'{file}: other size: got {size[0]}x{size[1]} pixels, expected {expected}x'
            f'{expected}; {_remedy(file)}.'
        )


def _read_label(tile: Tile, file: Path, settings: TileSettings) -> list[DotaBox]:
    size = (tile.window.size, tile.window.size)
    boxes = read_annotations(file, size, settings.classes)
    if file.read_text(encoding='utf-8') != tile.label:
        raise AnnotationError(
            f'{file}: other objects: got {len(boxes)} in another text, expected the '
            f'{len(tile.boxes)} of the scene; {_remedy(file)}.'
        )
    return boxes


def _check_whole_objects(
    plan: ScenePlan, found: Iterable[tuple[Tile, list[DotaBox]]]
) -> None:
    """Check that every object that some window holds uncut is in a tile.

    What the plan says of the objects is not used.
    """
    corners = corners_of(plan.boxes)
    uncut = corners[whole_somewhere(corners, plan.windows, plan.scene.size)]
    tiled = [_in_scene(tile, boxes) for tile, boxes in found]
    tree = KDTree(np.concatenate([np.empty((0, 8)), *tiled]))
    distances = tree.query(uncut, distance_upper_bound=_TOLERANCE)[0]
    lost = uncut[np.isinf(distances)]
    if len(lost):
        shown = ' '.join(f'{value:g}' for value in lost[0])
        raise AnnotationError(
            f'{plan.scene.label}: {len(lost)} uncut objects in no tile, the first at '
            f'{shown}; this is a defect of aerialkd: please report it.'
        )


def _in_scene(tile: Tile, boxes: list[DotaBox]) -> NDArray[np.float64]:
    return corners_of(boxes) + np.tile((tile.window.x, tile.window.y), 4)


def _some(names: list[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '') or 'none'


def _remedy(file: Path) -> str:
    return f'remove the file and split again: rm {file}'
