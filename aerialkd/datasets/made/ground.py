"""Ground, fields, roads, car parks: everything flat under the objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.blocks import pick, vary
from aerialkd.datasets.made.canvas import Canvas, Colour, fixed_point, fractal_noise

LANE = 3.4  # metres
SIDEWALK = 2.6
SLOT = (2.6, 5.2)
GRASS: Colour = (62, 108, 92)
DRY: Colour = (104, 142, 160)
PAVING: Colour = (148, 156, 160)
SOIL: Colour = (84, 112, 138)
ASPHALT: Colour = (98, 98, 100)
PAINT: Colour = (210, 214, 214)
_SHIFT = 4


@dataclass(frozen=True)
class Road:
    """A road and its lanes.

    Attributes:
        points: (n, 2), the middle of the road in pixels of the canvas.
        headings: (n,), direction of the middle line in radians.
        lanes: a direction.
        width: of all lanes, in metres.
    """

    points: NDArray
    headings: NDArray
    lanes: int
    width: float

    def aside(self, offset: NDArray | float) -> NDArray:
        """Points moved to the right of the middle line by ``offset`` pixels, (n, 2)."""
        right = np.stack([-np.sin(self.headings), np.cos(self.headings)], axis=1)
        return self.points + right * np.reshape(offset, (-1, 1))


@dataclass(frozen=True)
class CarPark:
    """Slots of a car park: centres (n, 2) in pixels and one heading in radians."""

    slots: NDArray
    heading: float
    corners: NDArray


def paint_ground(canvas: Canvas, rng: np.random.Generator) -> None:
    """Grass, soil or paving with stains, and often a ploughed field or a lawn."""
    size = canvas.size
    tones = [(GRASS, SOIL), (PAVING, DRY), (DRY, GRASS), (PAVING, PAVING)]
    first, second = (vary(rng, c, 10) for c in tones[int(rng.integers(len(tones)))])
    canvas.colours[:] = first
    canvas.blend(np.clip(0.5 + fractal_noise(rng, size, 3, 4), 0, 1), second)
    for _ in range(rng.integers(0, 3)):
        _paint_field(canvas, rng)
    # Grain from clods to pixels, the same in all channels as on real ground.
    grain = fractal_noise(rng, size, size // 12, 3) * 18
    canvas.colours += (grain + rng.normal(0, 5, (size, size)).astype(np.float32))[
        ..., None
    ]


def lay_roads(
    canvas: Canvas, rng: np.random.Generator, headings: Sequence[float]
) -> list[Road]:
    """Paint roads that cross the canvas, slightly bent, with pavements and markings."""
    metre = canvas.camera.pixels_per_metre
    roads = [_road(canvas, rng, heading) for heading in headings]
    if rng.random() < 0.8:
        paving = vary(rng, PAVING, 8)
        for road in roads:
            _stroke(canvas, road.points, (road.width + 2 * SIDEWALK) * metre, paving)
    asphalt = vary(rng, ASPHALT, 9)
    crossings = canvas.mask()
    for road in roads:
        mask = canvas.mask()
        width = max(1, round(road.width * metre))
        cv2.polylines(
            mask, [fixed_point(road.points)], False, 1, width, cv2.LINE_8, _SHIFT
        )
        canvas.blend(mask, asphalt)
        crossings += mask
    surface = canvas.colours.copy()
    for road in roads:
        _mark_lanes(canvas, road)
    canvas.blend((crossings > 1).astype(np.uint8), surface)
    return roads


def _road(canvas: Canvas, rng: np.random.Generator, heading: float) -> Road:
    lanes = int(rng.choice([1, 2], p=[0.6, 0.4]))
    along = np.array([np.cos(heading), np.sin(heading)])
    across = np.array([-along[1], along[0]])
    t = np.linspace(-1, 1, 81)
    bend = rng.normal(0, 0.12) * canvas.size
    centre = canvas.size * rng.uniform(0.25, 0.75, 2)
    points = (
        centre + np.outer(t * canvas.size * 1.1, along) + np.outer(bend * t**2, across)
    )
    tangent = np.gradient(points, axis=0)
    directions = np.arctan2(tangent[:, 1], tangent[:, 0])
    return Road(points, directions, lanes, 2 * lanes * LANE + 0.6)


def lay_car_park(canvas: Canvas, rng: np.random.Generator, heading: float) -> CarPark:
    """Paint two facing rows of parking slots."""
    metre = canvas.camera.pixels_per_metre
    number = int(rng.integers(5, 12))
    length, depth = number * SLOT[0], 2 * SLOT[1] + 6.0
    turn = np.array(
        [[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]]
    )
    centre = canvas.size * rng.uniform(0.15, 0.85, 2)

    def to_canvas(points: NDArray) -> NDArray:
        return centre + (points * metre) @ turn

    outline = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corners = to_canvas(outline * [length / 2 + 1, depth / 2 + 0.5])
    canvas.fill(corners, vary(rng, ASPHALT, 10))
    xs = (np.arange(number + 1) - number / 2) * SLOT[0]
    rows = np.array([-1, 1]) * (depth / 2 - SLOT[1] / 2)
    for x in xs:
        for row in rows:
            line = to_canvas(np.array([[x, row - SLOT[1] / 2], [x, row + SLOT[1] / 2]]))
            _stroke(canvas, line, 0.14 * metre, PAINT)
    slots = np.stack(np.meshgrid(xs[:-1] + SLOT[0] / 2, rows), axis=-1).reshape(-1, 2)
    return CarPark(to_canvas(slots), heading + np.pi / 2, corners)


def _paint_field(canvas: Canvas, rng: np.random.Generator) -> None:
    """A rectangle of crops in rows, or of lawn."""
    size, metre = canvas.size, canvas.camera.pixels_per_metre
    angle, centre = rng.uniform(0, np.pi), rng.uniform(0, size, 2)
    corners = cv2.boxPoints(
        (tuple(centre), tuple(rng.uniform(0.3, 0.9, 2) * size), np.degrees(angle))
    )
    mask = canvas.mask()
    cv2.fillConvexPoly(mask, fixed_point(corners), 1, cv2.LINE_8, _SHIFT)
    colour = np.array(pick(rng, (GRASS, (70, 120, 130), SOIL, (90, 140, 110))))
    y, x = np.mgrid[:size, :size].astype(np.float32)
    period = rng.uniform(0.8, 2.2) * metre
    rows = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    depth = rng.choice([0, 10, 18])
    canvas.blend(mask, colour + (rows * depth)[..., None], opacity=0.9)


def _mark_lanes(canvas: Canvas, road: Road) -> None:
    metre = canvas.camera.pixels_per_metre
    edge = (road.width / 2 - 0.3) * metre
    for offset in (-edge, edge):
        _stroke(canvas, road.aside(offset), 0.16 * metre, PAINT)
    _stroke(canvas, road.points, 0.2 * metre, (90, 190, 215))
    step = np.linalg.norm(np.diff(road.points, axis=0), axis=1).mean()
    dash = max(1, round(3 * metre / step))
    for lane in range(1, road.lanes):
        for side in (-1, 1):
            line = road.aside(side * lane * LANE * metre)
            for start in range(0, len(line) - dash, 3 * dash):
                _stroke(canvas, line[start : start + dash + 1], 0.16 * metre, PAINT)


def _stroke(canvas: Canvas, points: NDArray, width: float, colour: Colour) -> None:
    cv2.polylines(
        canvas.colours,
        [fixed_point(points)],
        False,
        colour,
        max(1, round(width)),
        cv2.LINE_8,
        _SHIFT,
    )
