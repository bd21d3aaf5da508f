"""VisDrone's ignored regions: what lies in them takes no part in the evaluation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def in_ignored_regions(
    boxes: NDArray, regions: NDArray, image_shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which boxes lie in the union of the ignored regions with half their area or more.

    This is the rule of the VisDrone2018-DET-toolkit (``dropObjectsInIgr``), pixel
    for pixel: corners and sizes are rounded to whole pixels (halves up, all at
    least 1), covered pixels are counted by an integral image, and a box stays when
    ``covered / (width * height) < 0.5``. The toolkit's regions include both end
    pixels and its boxes do not, so a region reaches one pixel further to the left
    and to the top than its coordinates say (one that begins at 0: to the right and
    to the bottom); it does here as well.

    Args:
        boxes: (n, 4), x1 y1 x2 y2 in pixels of the original image.
        regions: (r, 4), likewise.
        image_shape: height and width of the original image.

    Returns:
        (n,) bool.

    Example:
        >>> boxes = np.array([[10., 10., 30., 30.], [50., 10., 70., 30.]])
        >>> in_ignored_regions(boxes, np.array([[20., 0., 40., 40.]]), (100, 100))
        array([ True, False])
    """
    if not len(boxes) or not len(regions):
        return np.zeros(len(boxes), dtype=bool)
    height, width = image_shape
    integral = _region_integral(regions, height, width)
    corners, sizes = _whole_pixels(boxes)
    x1, y1 = np.clip(corners, 1, (width, height)).T
    x2, y2 = np.minimum(np.stack([x1, y1], axis=1) + sizes, (width, height)).T
    covered = integral[y2, x2] - integral[y1, x2] - integral[y2, x1] + integral[y1, x1]
    return covered / sizes.prod(axis=1) >= 0.5


def _region_integral(regions: NDArray, height: int, width: int) -> NDArray[np.int32]:
    """Ignored pixels above and left of each corner, (height + 1, width + 1)."""
    mask = np.zeros((height, width), dtype=np.uint8)
    corners, sizes = _whole_pixels(regions)
    for (x, y), (x_end, y_end) in zip(corners, corners + sizes, strict=True):
        mask[y - 1 : y_end, x - 1 : x_end] = 1
    return np.asarray(cv2.integral(mask))


def _whole_pixels(boxes: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Upper left pixels, counted from 1, and sizes as the toolkit rounds them."""
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    whole = np.maximum(np.floor(xywh.astype(np.float64) + 0.5), 1).astype(np.int64)
    return whole[:, :2], whole[:, 2:]
