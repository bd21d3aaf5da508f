"""Where large vehicles stand and goods are kept: depots, lorry yards, tank farms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.blocks import (
    GLASS,
    Block,
    Model,
    box,
    extent,
    pick,
    shaded,
    vary,
)
from aerialkd.datasets.made.canvas import Canvas, Colour, fractal_noise
from aerialkd.datasets.made.ground import ASPHALT, PAINT, PAVING, SOIL
from aerialkd.datasets.made.models import car, truck, van
from aerialkd.datasets.made.things import Sunlit, Thing

Rng = np.random.Generator
_COACHES: tuple[Colour, ...] = ((40, 170, 225), (215, 215, 212), (60, 70, 170))
_TRAILERS: tuple[Colour, ...] = (
    (222, 222, 218),
    (190, 192, 190),
    (150, 158, 160),
    (130, 110, 90),
)
_CABS: tuple[Colour, ...] = ((40, 40, 170), (150, 80, 40), (225, 225, 225))


@dataclass(frozen=True)
class Yard:
    """A paved rectangle.

    Attributes:
        canvas: it lies on.
        centre: (2,) in pixels of the canvas.
        heading: of its length, in radians.
        length, width: in metres.
    """

    canvas: Canvas
    centre: NDArray
    heading: float
    length: float
    width: float

    def point(self, x: float, y: float) -> NDArray:
        """Canvas point so many metres along and across from the centre, (2,)."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        turned = np.array([x * cos - y * sin, x * sin + y * cos])
        return self.centre + turned * self.canvas.camera.pixels_per_metre

    def rectangle(self, x: tuple[float, float], y: tuple[float, float]) -> NDArray:
        """Corners (4, 2) of a part of it."""
        ends = ((x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1]))
        return np.stack([self.point(*end) for end in ends])

    @property
    def corners(self) -> NDArray:
        """Of all of it, (4, 2)."""
        half, deep = self.length / 2, self.width / 2
        return self.rectangle((-half, half), (-deep, deep))

    def paint(self, rng: Rng) -> None:
        """Asphalt, concrete or gravel with stains."""
        canvas = self.canvas
        canvas.fill(self.corners, pick(rng, (ASPHALT, ASPHALT, PAVING, SOIL)))
        stains = np.clip(fractal_noise(rng, canvas.size, 7, 4) - 0.1, 0, 1)
        canvas.blend(stains, (70, 70, 72), rng.uniform(0.1, 0.5))
        grain = rng.normal(0, 4, (canvas.size, canvas.size, 1))
        canvas.colours += grain.astype(np.float32)


def lay_yard(rng: Rng, canvas: Canvas, share: float) -> Yard:
    """A painted yard somewhere near the middle, ``share`` of the picture wide."""
    metres = canvas.size / canvas.camera.pixels_per_metre
    length, width = share * metres * rng.uniform(0.8, 1.2, 2)
    centre = canvas.size * rng.uniform(0.4, 0.6, 2)
    yard = Yard(canvas, centre, float(rng.uniform(0, np.pi)), length, width)
    yard.paint(rng)
    return yard


def rows_of_vehicles(rng: Rng, yard: Yard) -> Iterator[Thing]:
    """Vehicles side by side, each row of one kind, two rows between the aisles."""
    y, row = -yard.width / 2 + 1.0, int(rng.integers(2))
    choices = [
        (_fleet_of_coaches(rng), 12.0, 'large-vehicle'),
        (lorry, 16.5, 'large-vehicle'),
        (truck, 9.0, 'large-vehicle'),
        (car, 5.0, 'small-vehicle'),
        (van, 5.8, 'small-vehicle'),
    ]
    main = int(rng.integers(3))
    while True:
        other = int(rng.choice(len(choices), p=(0.2, 0.2, 0.2, 0.3, 0.1)))
        model, deep, name = choices[main if rng.random() < 0.65 else other]
        if y + deep > yard.width / 2:
            return
        yield from _row(rng, yard, model, y + deep / 2, name)
        y += deep + (0.8 if row % 2 else rng.uniform(7, 13))
        row += 1


def _row(rng: Rng, yard: Yard, model: Model, y: float, name: str) -> Iterator[Thing]:
    """One row, with painted slots some of the time."""
    end, heading = yard.length / 2 - 1, yard.heading + np.pi / 2
    x = -end + rng.uniform(0, 0.2) * yard.length
    stop = end - rng.uniform(0, 0.2) * yard.length
    full, gap = rng.uniform(0.55, 1.0), rng.uniform(0.5, 1.3)
    turn, slots = np.pi * rng.integers(2), rng.random() < 0.6
    while x < stop:
        blocks = model(rng)
        long, wide = extent(blocks)
        if slots:
            line = (x - gap / 2 - 0.08, x - gap / 2 + 0.08)
            yard.canvas.fill(yard.rectangle(line, (y - long / 2, y + long / 2)), PAINT)
        if rng.random() < full:
            place = yard.point(x + wide / 2, y + rng.normal(0, 0.15))
            yield Sunlit(blocks, place, heading + turn + rng.normal(0, 0.012), name)
        x += wide + gap


def _fleet_of_coaches(rng: Rng) -> Model:
    """Coaches that all look the same."""
    paint, length = pick(rng, _COACHES), rng.uniform(9.0, 12.0)

    def coach(rng: Rng) -> Sequence[Block]:
        half, roof = length / 2, vary(rng, paint, 5)
        hatches = [
            box((x, x + 0.9), 0.9, (3.0, 3.1), shaded(roof, 0.85))
            for x in (-0.3 * length, 0.15 * length)
        ]
        return [
            box((-half, half), 2.5, (0.3, 1.4), shaded(roof, 0.9)),
            box((-half, half - 0.9), 2.5, (1.4, 3.0), roof),
            box((half - 0.9, half - 0.4), 2.3, (1.4, 2.6), GLASS, GLASS),
            box((half - 1.5, half - 1.3), 2.4, (3.0, 3.05), shaded(roof, 0.6)),
            *hatches,
        ]

    return coach


def lorry(rng: Rng) -> Sequence[Block]:
    """A semi-trailer, with its tractor or parked alone."""
    roof, half = pick(rng, _TRAILERS), rng.uniform(7.2, 8.2)
    with_tractor = rng.random() < 0.6
    front = half - 2.6 if with_tractor else half
    ribs = [
        box((x, x + 0.15), 2.5, (3.9, 3.95), shaded(roof, 0.9))
        for x in np.arange(-half + 1.5, front - 1, 1.9).tolist()
    ]
    trailer = [box((-half, front), 2.55, (1.1, 3.9), roof), *ribs]
    if not with_tractor:
        return trailer
    cab = pick(rng, _CABS)
    return [
        box((front - 1.5, half), 2.3, (0.4, 1.1), (55, 55, 55)),
        *trailer,
        box((half - 2.3, half), 2.4, (0.5, 3.0), cab),
        box((half - 0.5, half - 0.1), 2.2, (1.8, 2.8), GLASS, GLASS),
    ]


def storage_tank(rng: Rng, radius: float) -> Sequence[Block]:
    """A round tank with a light roof."""
    roof = vary(rng, (222, 224, 222), 8)
    low = shaded(roof, 0.75)
    top = rng.uniform(6, 9)
    return [
        box((-radius, radius), 2 * radius, (0, top), roof, low, is_round=True),
        box(
            (-0.85 * radius, 0.85 * radius),
            1.7 * radius,
            (top, top + 0.1),
            shaded(roof, 0.93),
            is_round=True,
        ),
        box((-0.1 * radius, 0.9 * radius), 0.4, (top + 0.1, top + 0.2), low),
    ]


def tank_farm(
    rng: Rng, centre: NDArray, heading: float, metre: float
) -> Iterator[Thing]:
    """Tanks in a grid."""
    radius = rng.uniform(4, 10)
    step = (2 * radius + rng.uniform(2.5, 5)) * metre
    along = np.array([np.cos(heading), np.sin(heading)])
    across = np.array([-along[1], along[0]])
    rows, columns = rng.integers(2, 4), rng.integers(2, 6)
    for row in range(rows):
        for column in range(columns):
            place = centre + along * (column - columns / 2) * step - across * row * step
            yield Sunlit(storage_tank(rng, radius), place, heading, 'storage-tank')
