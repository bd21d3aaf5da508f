"""Corner points of horizontal boxes, rotated boxes and quadrilaterals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialkd.errors import ShapeError


def corners(boxes: NDArray) -> NDArray[np.float64]:
    """Corner points of boxes.

    Args:
        boxes: (n, 4) as x1 y1 x2 y2, (n, 5) as centre, width, height and angle in
            radians, clockwise in the picture, or (n, 8) as four points.

    Returns:
        (n, 4, 2).

    Raises:
        ShapeError: for another shape.

    Example:
        >>> corners(np.array([[10., 10., 4., 2., np.pi / 2]])).round(6)[0].tolist()
        [[11.0, 8.0], [11.0, 12.0], [9.0, 12.0], [9.0, 8.0]]
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 5, 8):
        raise ShapeError(
            f'boxes: got {boxes.shape}, expected (n, 4), (n, 5) or (n, 8).'
        )
    if boxes.shape[1] == 8:
        return boxes.reshape(-1, 4, 2)
    if boxes.shape[1] == 4:
        x1, y1, x2, y2 = boxes.T
        points = [x1, y1, x2, y1, x2, y2, x1, y2]
        return np.stack(points, axis=1).reshape(-1, 4, 2)
    unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    local = unit * boxes[:, None, 2:4]
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    turn = np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2)
    return np.asarray(local @ turn + boxes[:, None, :2])
