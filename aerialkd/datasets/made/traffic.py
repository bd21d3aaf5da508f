"""Where objects stand: on lanes, in car parks, beside roads, on open ground."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.canvas import Canvas, fixed_point
from aerialkd.datasets.made.ground import LANE, CarPark, Road
from aerialkd.datasets.made.models import MODELS_OF_CLASSES
from aerialkd.datasets.made.things import Thing

# How often each class is seen where, roughly as unbalanced as VisDrone.
ON_LANES = {
    'car': 52,
    'van': 12,
    'truck': 7,
    'bus': 6,
    'motor': 12,
    'tricycle': 5,
    'awning-tricycle': 4,
    'bicycle': 2,
}
IN_CAR_PARKS = {'car': 84, 'van': 12, 'truck': 4}
BESIDE_ROADS = {
    'pedestrian': 50,
    'people': 10,
    'motor': 16,
    'bicycle': 14,
    'tricycle': 6,
    'awning-tricycle': 4,
}
ON_OPEN_GROUND = {
    'pedestrian': 46,
    'people': 34,
    'motor': 6,
    'bicycle': 6,
    'car': 4,
    'tricycle': 2,
    'awning-tricycle': 2,
}


class Occupancy:
    """Which ground is taken, so that nothing stands in something else.

    Args:
        canvas: whose ground it is.
    """

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.taken = canvas.mask()

    def claim(self, thing: Thing, margin: float = 0.2) -> bool:
        """Take the thing's footprint, grown by ``margin`` metres, if it is free."""
        footprint = thing.footprint(self.canvas.camera)
        room = self._grown(footprint, margin)
        low = np.floor(room.min(axis=0)).astype(int)
        high = np.ceil(room.max(axis=0)).astype(int) + 1
        x0, y0 = np.clip(low, 0, self.canvas.size)
        x1, y1 = np.clip(high, 0, self.canvas.size)
        window = self.taken[y0:y1, x0:x1]
        if not window.size:
            return False
        mask = np.zeros_like(window)
        cv2.fillConvexPoly(mask, fixed_point(room - (x0, y0)), 1, cv2.LINE_8, 4)
        if (mask & window).any():
            return False
        window |= mask
        return True

    def place(self, candidates: Iterable[Thing], margin: float = 0.2) -> list[Thing]:
        """Those whose middle is in the picture and whose ground was free."""
        return [
            thing
            for thing in candidates
            if self._holds(thing.centre) and self.claim(thing, margin)
        ]

    def is_free(self, point: NDArray) -> bool:
        """Whether nobody has taken the ground under a point (2,) of the canvas."""
        x, y = point.astype(int)
        return not self.taken[y, x]

    def block(self, polygon: NDArray) -> None:
        """Take a polygon (n, 2) whatever stands there."""
        cv2.fillConvexPoly(self.taken, fixed_point(polygon), 1, cv2.LINE_8, 4)

    def block_road(self, road: Road) -> None:
        """Take a road, for things that stand beside it."""
        width = road.width * self.canvas.camera.pixels_per_metre
        points = [fixed_point(road.points)]
        cv2.polylines(self.taken, points, False, 1, round(width), cv2.LINE_8, 4)

    def _holds(self, point: NDArray) -> bool:
        return bool((point >= 0).all() and (point < self.canvas.size).all())

    def _grown(self, corners: NDArray, margin: float) -> NDArray:
        centre = corners.mean(axis=0)
        sides = np.linalg.norm(corners[[1, 3]] - corners[0], axis=1)
        factor = 1 + 2 * margin * self.canvas.camera.pixels_per_metre / sides.min()
        return centre + (corners - centre) * min(factor, 1.6)


def make_object(
    rng: np.random.Generator,
    chances: Mapping[str, float],
    centre: NDArray,
    heading: float,
) -> Thing:
    """An object of a random class at a place."""
    weights = np.array(list(chances.values()), float)
    name = list(chances)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    return Thing(MODELS_OF_CLASSES[name](rng), centre, heading, name)


def on_lanes(
    rng: np.random.Generator, canvas: Canvas, roads: Sequence[Road]
) -> Iterator[Thing]:
    """Vehicles along every lane, right-hand traffic, denser or sparser by lane."""
    metre = canvas.camera.pixels_per_metre
    for road in roads:
        step = np.linalg.norm(np.diff(road.points, axis=0), axis=1).mean()
        for lane in range(-road.lanes, road.lanes):
            line = road.aside((lane + 0.5) * LANE * metre)
            gap = rng.choice([6.5, 9.0, 15.0]) * metre
            position = rng.uniform(0, gap)
            while (index := int(position / step)) < len(line):
                # Negative lanes lie left of the middle line: oncoming traffic.
                heading = road.headings[index] + (np.pi if lane < 0 else 0)
                place = line[index] + rng.normal(0, 0.2 * metre, 2)
                yield make_object(rng, ON_LANES, place, heading + rng.normal(0, 0.03))
                position += gap * rng.uniform(0.85, 2.0)


def in_car_parks(rng: np.random.Generator, parks: Sequence[CarPark]) -> Iterator[Thing]:
    """Parked cars, nose in or out."""
    for park in parks:
        for slot in park.slots[rng.random(len(park.slots)) < rng.uniform(0.4, 0.95)]:
            heading = park.heading + np.pi * rng.integers(2) + rng.normal(0, 0.02)
            yield make_object(rng, IN_CAR_PARKS, slot, heading)


def beside_roads(
    rng: np.random.Generator, canvas: Canvas, roads: Sequence[Road]
) -> Iterator[Thing]:
    """People and two-wheelers on the pavements, often a few together."""
    metre = canvas.camera.pixels_per_metre
    for road in roads:
        for _ in range(rng.integers(5, 20) * max(1, round(canvas.size / 384))):
            index = int(rng.integers(len(road.points)))
            side = (
                rng.choice([-1, 1]) * (road.width / 2 + rng.uniform(0.8, 2.0)) * metre
            )
            place = road.aside(side)[index]
            for _ in range(rng.integers(1, 4)):
                heading = road.headings[index] + rng.normal(0, 0.3)
                yield make_object(rng, BESIDE_ROADS, place, heading)
                place = place + rng.normal(0, 1.3 * metre, 2)


def on_open_ground(rng: np.random.Generator, canvas: Canvas) -> Iterator[Thing]:
    """Groups of people and a few vehicles anywhere."""
    metre = canvas.camera.pixels_per_metre
    for _ in range(rng.integers(3, 14) * max(1, round((canvas.size / 384) ** 2))):
        place = rng.uniform(0, canvas.size, 2)
        for _ in range(rng.integers(1, 7)):
            yield make_object(rng, ON_OPEN_GROUND, place, rng.uniform(0, 2 * np.pi))
            place = place + rng.normal(0, 1.8 * metre, 2)
