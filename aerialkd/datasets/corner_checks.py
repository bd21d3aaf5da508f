"""Whether four corners are a box in an image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from aerialkd.errors import AnnotationError

_FARTHEST = 1e7  # pixels; beyond, float32 does not hold whole pixels
_SMALLEST = 1e-3  # square pixels of the largest triangle of corners

Point = tuple[float, float]


def check_corners(
    corners: Sequence[float], where: str, image_size: tuple[int, int]
) -> None:
    """Check that four corners enclose an area, a part of it within the image.

    Their order does not matter.

    Args:
        corners: x1, y1 to x4, y4 in pixels.
        where: of the box, for messages.
        image_size: (width, height) of the image in pixels.

    Raises:
        AnnotationError: names the place, what is wrong and what was expected.
    """
    points = list(zip(corners[::2], corners[1::2], strict=True))
    shown = ' '.join(f'{value:g}' for value in corners)
    if not all(abs(value) <= _FARTHEST for value in corners):
        raise AnnotationError.at(
            where,
            'no coordinates of pixels',
            f'got {shown}, expected at most {_FARTHEST:g}; correct or delete it.',
        )
    check_pixels(corners, where)
    triangles = (_doubled_area(*three) for three in itertools.combinations(points, 3))
    if max(triangles) / 2 < _SMALLEST:
        raise AnnotationError.at(
            where,
            'zero area',
            f'got {shown}, expected corners that do not lie on one line; correct or '
            'delete it.',
        )
    if not _overlaps(points, image_size):
        raise AnnotationError.at(
            where,
            'box outside the image',
            f'got {shown}, expected a part of it in {image_size[0]}x{image_size[1]} '
            'pixels; correct or delete it.',
        )


def check_pixels(coordinates: Sequence[float], where: str) -> None:
    """Refuse a box within the first pixel: parts of the image's size, as YOLO has them.

    A part of an object that is as small as that ends at whole pixels.

    Raises:
        AnnotationError: names the place.
    """
    within = all(0 <= value <= 1 for value in coordinates)
    if within and not all(float(value).is_integer() for value in coordinates):
        shown = ' '.join(f'{value:g}' for value in coordinates)
        raise AnnotationError.at(
            where,
            'no coordinates of pixels',
            f"got {shown}, which look like parts of the image's size, expected pixels; "
            'multiply x by its width and y by its height.',
        )


def _doubled_area(a: Point, b: Point, c: Point) -> float:
    return abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _overlaps(points: Sequence[Point], image_size: tuple[int, int]) -> bool:
    """Whether the hull of the points and the image share more than a border.

    Two convex shapes do unless they lie on different sides of a line along an edge of
    either; the edges of the hull are among the lines through two points.
    """
    width, height = image_size
    if any(0 < x < width and 0 < y < height for x, y in points):
        return True
    normals = [(1.0, 0.0), (0.0, 1.0)]
    normals += [
        (a[1] - b[1], b[0] - a[0]) for a, b in itertools.combinations(points, 2)
    ]
    image = [(0, 0), (width, 0), (width, height), (0, height)]
    for nx, ny in normals:
        ours = [x * nx + y * ny for x, y in points]
        theirs = [x * nx + y * ny for x, y in image]
        # Two points at the same place have no line through them.
        if (nx or ny) and (max(ours) <= min(theirs) or max(theirs) <= min(ours)):
            return False
    return True
