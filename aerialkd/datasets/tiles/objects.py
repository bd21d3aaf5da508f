"""Which objects of a scene belong to which tile, and what is left of them there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from aerialkd.datasets.tiles.windows import Window

LEAST_PART = 1.0  # square pixels; less of a cut object is nothing to see
_SAME = 0.05  # pixels, between rectangles
_ROUNDING = 1e-9  # of areas, so that exactly the kept share is enough


@dataclass(frozen=True)
class Placement:
    """Pairs of a tile and an object that is, or partly is, in it.

    Sorted by tile, within a tile in the order of the objects.

    Attributes:
        tiles: (p,), index of the window.
        objects: (p,), index of the object.
        shares: (p,), part of the object's area within the tile; 1 where it is whole.
        whole: (p,), whether the tile's border does not cut the object.
        corners: (p, 8), in pixels of the tile.
    """

    tiles: NDArray[np.int64]
    objects: NDArray[np.int64]
    shares: NDArray[np.float64]
    whole: NDArray[np.bool_]
    corners: NDArray[np.float64]

    def reaching(self, share: float) -> NDArray[np.bool_]:
        """(p,), whether at least this share of the object is within the tile."""
        return self.shares >= share - _ROUNDING


def place_objects(
    corners: NDArray[np.float64],
    windows: Sequence[Window],
    scene_size: tuple[int, int],
    clip: bool,
) -> Placement:
    """Find all objects of all tiles of a scene.

    An object's area is that of the convex hull of its corners. What reaches over the
    scene's border is not cut by the tiles that end there.

    Args:
        corners: (n, 8), in pixels of the scene.
        windows: of the scene, m.
        scene_size: (width, height) in pixels.
        clip: replace objects that a tile cuts by :func:`visible_boxes`; without it
            they keep their corners.
    """
    squares = np.array([(w.x, w.y, w.size) for w in windows], np.float64)
    limits = _limits(squares, scene_size, corners)
    hulls = shapely.convex_hull(shapely.multipoints(corners.reshape(-1, 4, 2)))
    boxes = shapely.box(*limits.T)
    tiles, objects = shapely.STRtree(hulls).query(boxes)
    order = np.lexsort((objects, tiles))
    tiles, objects = tiles[order], objects[order]
    whole = _within(shapely.bounds(hulls)[objects], limits[tiles])
    parts = hulls[objects]
    parts[~whole] = shapely.intersection(parts[~whole], boxes[tiles[~whole]])
    visible = whole | (shapely.area(parts) >= LEAST_PART)
    tiles, objects, parts, whole = (a[visible] for a in (tiles, objects, parts, whole))
    shares = np.where(whole, 1.0, shapely.area(parts) / shapely.area(hulls[objects]))
    placed = corners[objects]
    if clip:
        placed[~whole] = visible_boxes(placed[~whole], parts[~whole])
    placed -= np.tile(squares[tiles, :2], 4)
    return Placement(tiles, objects, shares, whole, placed)


def whole_somewhere(
    corners: NDArray[np.float64],
    windows: Sequence[Window],
    scene_size: tuple[int, int],
) -> NDArray[np.bool_]:
    """(n,), whether an object lies uncut within at least one of the windows.

    Corners outside the scene are taken to lie on its border.
    """
    points = corners.reshape(-1, 4, 2).clip(0, np.array(scene_size, np.float64))
    low, high = points.min(1), points.max(1)
    found = np.zeros(len(corners), np.bool_)
    for window in windows:
        start = np.array((window.x, window.y))
        found |= ((low >= start) & (high <= start + window.size)).all(1)
    return found


def visible_boxes(
    corners: NDArray[np.float64], parts: NDArray[np.object_]
) -> NDArray[np.float64]:
    """The smallest rectangles along objects' own axes around what is visible of them.

    The axes are those of the smallest rectangle around the object, which is what a
    detector learns of it; they are named so that the corners keep their order, and
    with it the object its direction. An object whose rectangle becomes no smaller
    keeps its corners.

    Args:
        corners: (n, 8), the whole objects.
        parts: (n,), the visible polygons.

    Returns:
        (n, 8), in the pixels of ``corners``.
    """
    axes = _own_axes(corners)
    visible = _rectangles(parts, axes)
    whole = _rectangles(shapely.multipoints(corners.reshape(-1, 4, 2)), axes)
    same = np.abs(visible - whole).max(1, initial=0) < _SAME
    return np.where(same[:, None], corners, visible)


def _rectangles(
    shapes: NDArray[np.object_], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, 8), the smallest rectangles around shapes along axes (n, 2, 2)."""
    points, owners = shapely.get_coordinates(shapes, return_index=True)
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    along = np.einsum('pac,pc->pa', axes[owners], points)
    (u0, v0), (u1, v1) = (
        limit.reduceat(along, starts).T for limit in (np.minimum, np.maximum)
    )
    boxes = np.stack([u0, v0, u1, v0, u1, v1, u0, v1], 1).reshape(-1, 4, 2)
    return np.einsum('npa,nac->npc', boxes, axes).reshape(-1, 8)


def _own_axes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2, 2), unit vectors from the first corner to the second and the fourth."""
    points = corners.reshape(-1, 4, 2)
    a, b, c, d = points.transpose(1, 0, 2)
    along, across = (b - a) + (c - d), (d - a) + (c - b)
    turn = np.where(_cross(along, across) < 0, -1.0, 1.0)
    # Both sides together, the second turned onto the first: the longer one decides.
    drawn = along + turn[:, None] * np.stack([across[:, 1], -across[:, 0]], 1)
    angle = np.arctan2(drawn[:, 1], drawn[:, 0])
    rectangles = shapely.minimum_rotated_rectangle(shapely.multipoints(points))
    side = np.diff(shapely.get_coordinates(rectangles).reshape(-1, 5, 2)[:, :2], axis=1)
    exact = np.arctan2(side[:, 0, 1], side[:, 0, 0])
    exact += np.round((angle - exact) / (np.pi / 2)) * (np.pi / 2)
    c, s = np.cos(exact), np.sin(exact)
    return np.stack([c, s, -turn * s, turn * c], 1).reshape(-1, 2, 2)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return product


def _limits(
    squares: NDArray[np.float64],
    scene_size: tuple[int, int],
    corners: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(m, 4), x1 y1 x2 y2 of the windows; at the scene's border beyond all objects."""
    low, high = squares[:, :2], squares[:, :2] + squares[:, 2:]
    size = np.array(scene_size, np.float64)
    least = min(corners.min(initial=0), 0) - 1
    most = max(corners.max(initial=0), high.max()) + 1
    low = np.where(low <= 0, least, low)
    high = np.where(high >= size, most, high)
    return np.concatenate([low, high], 1)


def _within(
    inner: NDArray[np.float64], outer: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(p,), whether x1 y1 x2 y2 of the one lie within those of the other."""
    low, high = inner[:, :2] >= outer[:, :2], inner[:, 2:] <= outer[:, 2:]
    return np.all(np.concatenate([low, high], 1), axis=1)
