"""A picture under construction, seen by a tilted camera high above flat ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]  # blue, green, red in 0..255
_SHIFT = 4  # OpenCV draws with this many binary places of a pixel


@dataclass(frozen=True)
class Camera:
    """How metres become pixels of the canvas.

    Attributes:
        pixels_per_metre: on the ground.
        tilt: pixels that a height rises in the picture, relative to the ground's;
            0 looks straight down.
        sun: ground metres of shadow for a metre of height, (2,) in x and y.
    """

    pixels_per_metre: float
    tilt: float
    sun: NDArray

    def project(self, ground: NDArray, height: float) -> NDArray:
        """Canvas points (n, 2) of ground points (n, 2) raised by ``height`` metres."""
        return ground - np.array([0.0, height * self.tilt * self.pixels_per_metre])

    def shadow(self, ground: NDArray, height: float) -> NDArray:
        """Where points (n, 2) raised by ``height`` metres throw their shadow."""
        return ground + self.sun * height * self.pixels_per_metre


class Canvas:
    """Colours, shadows and owners of a square of pixels.

    Args:
        size: side in pixels.
        camera: of this picture.
    """

    def __init__(self, size: int, camera: Camera) -> None:
        self.size = size
        self.camera = camera
        self.colours = np.zeros((size, size, 3), np.float32)
        self.shade = np.zeros((size, size), np.uint8)
        self.owners = np.zeros((size, size), np.int32)

    def fill(self, polygon: NDArray, colour: Colour, owner: int = 0) -> None:
        """Paint a convex polygon (n, 2) and note whose pixels these now are."""
        points = fixed_point(polygon)
        cv2.fillConvexPoly(self.colours, points, colour, cv2.LINE_8, _SHIFT)
        cv2.fillConvexPoly(self.owners, points, owner, cv2.LINE_8, _SHIFT)

    def blend(
        self, mask: NDArray, colours: NDArray | Colour, opacity: float = 1.0
    ) -> None:
        """Lay colours over the canvas where ``mask`` (size, size) in 0..1 says."""
        weight = (mask * opacity)[..., None].astype(np.float32)
        self.colours += weight * (np.asarray(colours, np.float32) - self.colours)

    def mask(self) -> NDArray[np.uint8]:
        """An empty mask of the canvas's size."""
        return np.zeros((self.size, self.size), np.uint8)

    def cast_shadow(self, footprint: NDArray, height: float) -> None:
        """Note the shadow of a block; ``darken`` draws all of them at once."""
        top = self.camera.shadow(footprint, height)
        cv2.fillConvexPoly(self.shade, hull(footprint, top), 255, cv2.LINE_8, _SHIFT)

    def darken(self, strength: float) -> None:
        """Draw the shadows noted so far; overlapping ones do not add up."""
        soft = cv2.GaussianBlur(self.shade, (0, 0), 1.2).astype(np.float32) / 255
        self.colours *= 1 - strength * soft[..., None]


def fixed_point(polygon: NDArray) -> NDArray[np.int32]:
    """OpenCV's fixed-point coordinates of points (n, 2)."""
    return np.round(np.asarray(polygon) * (1 << _SHIFT)).astype(np.int32)


def hull(*points: NDArray) -> NDArray[np.int32]:
    """Fixed-point convex hull of point sets (n, 2)."""
    return cv2.convexHull(fixed_point(np.concatenate(points)))


def fractal_noise(
    rng: np.random.Generator, size: int, cells: int, octaves: int
) -> NDArray[np.float32]:
    """Smooth random field (size, size) in about -1..1, from ``cells`` waves upwards."""
    field = np.zeros((size, size), np.float32)
    amplitude = 0.5
    for octave in range(octaves):
        number = min(cells << octave, size)
        grid = rng.uniform(-1, 1, (number + 1, number + 1)).astype(np.float32)
        field += amplitude * cv2.resize(
            grid, (size, size), interpolation=cv2.INTER_CUBIC
        )
        amplitude /= 2
    return field
