"""Boxes on pictures: horizontal, rotated and polygons, readable on small images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from aerialkd.errors import ConfigError
from aerialkd.structures.corners import corners

Color = tuple[int, int, int]
Pattern = Literal['solid', 'dashed', 'crossed']
_SHIFT = 4  # bits of cv2's coordinates behind the point
_DASH = 5.0


def draw_boxes(
    image: NDArray[np.uint8],
    boxes: NDArray,
    colors: Sequence[Color],
    pattern: Pattern = 'solid',
    scale: float = 1.0,
    width: int = 2,
) -> NDArray[np.uint8]:
    """Copy of a picture with the outlines of boxes, each on a dark rim.

    Args:
        image: (h, w, 3), BGR.
        boxes: as for :func:`~aerialkd.structures.corners.corners`, in pixels of the
            image before it was scaled.
        colors: red, green, blue of each box, 0 to 255.
        pattern: outline; ``'crossed'`` adds a diagonal.
        scale: what :func:`enlarge` returned for this picture.
        width: of the lines, in pixels of ``image``.

    Example:
        >>> image = np.zeros((32, 32, 3), np.uint8)
        >>> drawn = draw_boxes(image, np.array([[4, 4, 20, 20]]), [(255, 0, 0)])
        >>> drawn[4, 12].tolist()
        [0, 0, 255]
    """
    drawn = np.ascontiguousarray(image).copy()
    # Pixel centres are whole numbers for cv2, pixel borders are for boxes.
    strokes = [_strokes(p, pattern) for p in corners(boxes) * scale - 0.5]
    for lines in strokes:  # all rims first: none covers a neighbour's outline
        _draw(drawn, lines, (20, 20, 20), width + 2)
    for lines, (red, green, blue) in zip(strokes, colors, strict=True):
        _draw(drawn, lines, (blue, green, red), width)
    return drawn


def enlarge(
    image: NDArray[np.uint8], least: int = 480, most: int = 1000, factor: int = 3
) -> tuple[NDArray[np.uint8], float]:
    """Bring a picture to a size on which outlines can be read.

    Args:
        image: (h, w, 3).
        least: the longer side is enlarged to this, by a whole number up to ``factor``.
        most: a longer side above it is made smaller.
        factor: the largest enlargement.

    Returns:
        The picture, and by how much it was scaled.
    """
    side = max(image.shape[:2])
    if side > most:
        scale = most / side
        kind = cv2.INTER_AREA
    else:
        whole = min(factor, -(-least // side), most // side)
        scale, kind = float(max(whole, 1)), cv2.INTER_CUBIC
    if scale == 1:
        return image, 1.0
    size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
    return np.asarray(cv2.resize(image, size, interpolation=kind)), scale


def class_colors(count: int) -> list[Color]:
    """Colours of classes 0..count-1, repeated after twenty."""
    # Saturated colours first, their pale partners behind them.
    order = [*range(0, 20, 2), *range(1, 20, 2)]
    table = 255 * colormaps['tab20'](order)[:, :3]
    rows = [table[index % 20].round().astype(int).tolist() for index in range(count)]
    return [(red, green, blue) for red, green, blue in rows]


def _strokes(polygon: NDArray[np.float64], pattern: Pattern) -> list[NDArray]:
    """Lines to draw, (2, 2) each."""
    edges = [np.stack([polygon[i], polygon[(i + 1) % 4]]) for i in range(4)]
    if pattern == 'dashed':
        return [dash for edge in edges for dash in _dashes(edge)]
    return [*edges, polygon[[0, 2]]] if pattern == 'crossed' else edges


def _dashes(edge: NDArray[np.float64]) -> list[NDArray]:
    """An odd number of equal parts, the odd ones left out: corners stay closed."""
    length = float(np.linalg.norm(edge[1] - edge[0]))
    parts = max(3, 2 * round(length / _DASH / 2) + 1)
    at = edge[0] + np.linspace(0, 1, parts + 1)[:, None] * (edge[1] - edge[0])
    return [at[i : i + 2] for i in range(0, parts, 2)]


def _draw(
    image: NDArray[np.uint8], lines: Sequence[NDArray], color: Color, width: int
) -> None:
    for line in lines:
        # Far outside the picture cv2's fixed-point numbers would overflow.
        points = np.clip(line, -4096, 65536) * (1 << _SHIFT)
        start, end = points.round().astype(int).tolist()
        cv2.line(image, start, end, color, width, cv2.LINE_AA, _SHIFT)


def check_picture(path: Path) -> Path:
    """Refuse a file name that says no known kind of picture.

    Raises:
        ConfigError: unless it ends in ``.png`` or ``.jpg``.
    """
    if path.suffix.lower() not in ('.png', '.jpg'):
        raise ConfigError(f'{path}: must end in .png or .jpg.')
    return path


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture, (h, w, 3), BGR, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower(), picture)[1].tobytes())
