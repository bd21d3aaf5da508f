"""Flat things with a purpose: courts, pools, pitches, aprons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.blocks import Block, box, pick, shaded, vary
from aerialkd.datasets.made.canvas import Canvas, Colour
from aerialkd.datasets.made.ground import ASPHALT, PAINT
from aerialkd.datasets.made.things import Sunlit, Thing

Rng = np.random.Generator
_FLAT = (0.0, 0.02)
_LINES = (0.02, 0.03)


def _court(size: tuple[float, float], outer: Colour, inner: Colour) -> list[Block]:
    """A playing field with a margin of another colour."""
    length, width = size
    margin = 0.16 * width
    return [
        box(
            (-length / 2 - margin, length / 2 + margin),
            width + 2 * margin,
            _FLAT,
            outer,
        ),
        box((-length / 2, length / 2), width, _LINES, PAINT),
        box((-length / 2 + 0.25, length / 2 - 0.25), width - 0.5, (0.03, 0.04), inner),
    ]


def _cross_line(x: float, width: float, thick: float = 0.3) -> Block:
    return box((x - thick / 2, x + thick / 2), width, (0.04, 0.05), PAINT)


def tennis_court(rng: Rng) -> Sequence[Block]:
    """A double court: service lines and the net."""
    outer = pick(rng, ((90, 120, 70), (70, 90, 60), (60, 80, 140)))
    inner = pick(rng, ((140, 100, 50), (80, 130, 80), (70, 90, 160)))
    field = _court((23.8, 11), outer, inner)
    singles = [
        Block((-11.9, 11.9), (y - 0.15, y + 0.15), (0.04, 0.05), PAINT, PAINT)
        for y in (-4.1, 0.0, 4.1)
    ]
    lines = [_cross_line(x, 8.2) for x in (-6.4, 6.4)]
    return [*field, *singles, *lines, box((-0.15, 0.15), 12, (0.1, 0.9), (70, 70, 70))]


def basketball_court(rng: Rng) -> Sequence[Block]:
    """Centre circle, two keys."""
    outer = pick(rng, ((70, 110, 80), (120, 90, 60), (70, 80, 140)))
    inner = pick(rng, ((90, 110, 170), (110, 120, 130), (150, 110, 70)))
    key = shaded(inner, 0.7)
    keys = [box((x, x + 5.8), 4.9, (0.04, 0.05), key) for x in (-14.0, 8.2)]
    ring = box((-1.8, 1.8), 3.6, (0.05, 0.06), PAINT, is_round=True)
    middle = box((-1.5, 1.5), 3.0, (0.06, 0.07), inner, is_round=True)
    return [*_court((28, 15), outer, inner), *keys, _cross_line(0, 15), ring, middle]


def swimming_pool(rng: Rng) -> Sequence[Block]:
    """Blue water in a light frame, round or not."""
    length, width = rng.uniform(7, 22), rng.uniform(4, 9)
    is_round = bool(rng.random() < 0.35)
    water = vary(rng, (205, 175, 70), 14)
    frame = vary(rng, (200, 205, 208), 8)
    return [
        box(
            (-length / 2 - 0.8, length / 2 + 0.8),
            width + 1.6,
            _FLAT,
            frame,
            is_round=is_round,
        ),
        box((-length / 2, length / 2), width, _LINES, water, is_round=is_round),
    ]


def soccer_field(rng: Rng) -> Sequence[Block]:
    """Mown stripes, half-way line, two penalty areas."""
    length = rng.uniform(48, 70)
    width, grass = 0.65 * length, vary(rng, (62, 128, 84), 10)
    stripes = [
        box((x, x + length / 20), width, (0.03, 0.035), shaded(grass, 0.9))
        for x in np.arange(10) * length / 10 - length / 2
    ]
    areas = [
        part
        for side in (-1, 1)
        for part in (
            box(
                _ordered(side * length / 2, side * 0.36 * length),
                0.55 * width,
                (0.04, 0.05),
                PAINT,
            ),
            box(
                _ordered(side * (length / 2 - 0.4), side * (0.36 * length + 0.4)),
                0.55 * width - 0.8,
                (0.05, 0.06),
                grass,
            ),
        )
    ]
    field = box((-length / 2, length / 2), width, (0.0, 0.02), PAINT)
    inner = box((-length / 2 + 0.4, length / 2 - 0.4), width - 0.8, (0.02, 0.03), grass)
    return [field, inner, *stripes, *areas, _cross_line(0, width, 0.4)]


def ground_track_field(rng: Rng) -> Sequence[Block]:
    """A red running track around a lawn."""
    length = rng.uniform(70, 95)
    width, red = 0.55 * length, vary(rng, (70, 84, 168), 10)
    lawn = vary(rng, (64, 124, 88), 8)
    blocks = [box((-length / 2, length / 2), width, _FLAT, red, is_round=True)]
    for share in (0.955, 0.91):
        edge = share * length / 2
        inner = width - (1 - share) * length
        blocks.append(box((-edge, edge), inner, _LINES, PAINT, is_round=True))
        edge -= 0.25
        blocks.append(box((-edge, edge), inner - 0.5, _LINES, red, is_round=True))
    edge = 0.86 * length / 2
    lawn_width = width - 0.14 * length
    return [*blocks, box((-edge, edge), lawn_width, (0.03, 0.04), lawn, is_round=True)]


def _ordered(a: float, b: float) -> tuple[float, float]:
    """Both values, the smaller one first."""
    return (min(a, b), max(a, b))


SPORTS = (
    'tennis-court',
    'tennis-court',
    'tennis-court',
    'basketball-court',
    'basketball-court',
    'swimming-pool',
    'swimming-pool',
    'soccer-ball-field',
    'ground-track-field',
)
_MODELS: dict[str, Callable[[Rng], Sequence[Block]]] = {
    'tennis-court': tennis_court,
    'basketball-court': basketball_court,
    'swimming-pool': swimming_pool,
    'soccer-ball-field': soccer_field,
    'ground-track-field': ground_track_field,
}


def some(
    rng: Rng, canvas: Canvas, heading: float, number: int, names: Sequence[str]
) -> Iterator[Thing]:
    """Grounds anywhere, courts often two or four beside each other."""
    metre = canvas.camera.pixels_per_metre
    for _ in range(number):
        name = names[int(rng.integers(len(names)))]
        place = rng.uniform(0, canvas.size, 2)
        turn = heading + np.pi / 2 * rng.integers(2) + rng.normal(0, 0.02)
        across = np.array([-np.sin(turn), np.cos(turn)])
        for _ in range(int(rng.choice([1, 2, 4])) if 'court' in name else 1):
            thing = Thing(_MODELS[name](rng), place, turn, name)
            yield thing
            wide = max(y for block in thing.blocks for y in block.y)
            place = place + across * (2 * wide + 1) * metre


class Apron:
    """A concrete apron with a taxiway, where planes are parked.

    Args:
        canvas: to build on.
        rng: decides where it lies.
    """

    def __init__(self, canvas: Canvas, rng: Rng) -> None:
        self.canvas = canvas
        self.metre = canvas.camera.pixels_per_metre
        self.heading = float(rng.uniform(0, 2 * np.pi))
        self.along = np.array([np.cos(self.heading), np.sin(self.heading)])
        self.across = np.array([-self.along[1], self.along[0]])
        self.origin = canvas.size * rng.uniform(0.35, 0.65, 2)
        self.half = canvas.size / self.metre  # metres
        self.depth = rng.uniform(45, 75)

    def point(self, x: float, y: float) -> NDArray:
        """Canvas point so many metres along and across, (2,)."""
        return self.origin + (x * self.along + y * self.across) * self.metre

    def _strip(self, low: float, high: float) -> NDArray:
        h = self.half
        return np.stack(
            [self.point(x, y) for x, y in ((-h, low), (h, low), (h, high), (-h, high))]
        )

    @property
    def corners(self) -> NDArray:
        """Of the apron and the taxiway, (4, 2)."""
        return self._strip(-self.depth, self.depth / 2)

    def paint(self, rng: Rng) -> None:
        """Concrete slabs, the taxiway and its yellow line."""
        canvas = self.canvas
        concrete = vary(rng, (158, 162, 164), 8)
        canvas.fill(self._strip(-self.depth, self.depth / 2), concrete)
        slab = shaded(concrete, 0.93)
        for y in np.arange(-self.depth, self.depth / 2, 7.5).tolist():
            canvas.fill(self._strip(y, y + 0.35), slab)
        for x in np.arange(-self.half, self.half, 7.5).tolist():
            ends = (
                (x, -self.depth),
                (x + 0.35, -self.depth),
                (x + 0.35, self.depth / 2),
                (x, self.depth / 2),
            )
            canvas.fill(np.stack([self.point(*end) for end in ends]), slab)
        canvas.fill(
            self._strip(self.depth * 0.1, self.depth * 0.1 + 18), vary(rng, ASPHALT, 6)
        )
        middle = self.depth * 0.1 + 9
        canvas.fill(self._strip(middle, middle + 0.5), (60, 180, 220))

    def parked(
        self, rng: Rng, model: Callable[[Rng], Sequence[Block]]
    ) -> Iterator[Thing]:
        """Planes in rows, nose out, and one or two on the taxiway."""
        for row in np.arange(-self.depth * 0.8, 0, rng.uniform(18, 26)).tolist():
            x, tidy = -self.half, rng.choice([0.02, 0.25])
            while x < self.half:
                blocks = model(rng)
                wide = 2 * max(y for block in blocks for y in block.y)
                heading = self.heading + np.pi / 2 + rng.normal(0, tidy)
                if rng.random() < 0.6:
                    yield Sunlit(
                        blocks, self.point(x + wide / 2, row), heading, 'plane'
                    )
                x += wide + rng.uniform(2, 9)
        for _ in range(int(rng.integers(0, 3))):
            place = self.point(rng.uniform(-0.5, 0.5) * self.half, self.depth * 0.1 + 9)
            yield Sunlit(
                model(rng), place, self.heading + np.pi * rng.integers(2), 'plane'
            )

    def pads(
        self, rng: Rng, model: Callable[[Rng], Sequence[Block]]
    ) -> Iterator[Thing]:
        """Helicopters in a row, some of the time."""
        if rng.random() < 0.5:
            return
        x, y = rng.uniform(-0.4, 0.1) * self.half, self.depth * rng.uniform(0.33, 0.42)
        for _ in range(int(rng.integers(1, 6))):
            heading = self.heading + np.pi / 2 + rng.normal(0, 0.1)
            yield Sunlit(model(rng), self.point(x, y), heading, 'helicopter')
            x += rng.uniform(15, 20)

    def scattered(self, rng: Rng, things: Iterable[Thing]) -> Iterator[Thing]:
        """Things anywhere on the apron, along it or across."""
        for thing in things:
            x, y = rng.uniform(-0.6, 0.6) * self.half, rng.uniform(-1, 0.1) * self.depth
            thing.centre = self.point(x, y)
            thing.heading = (
                self.heading + np.pi / 2 * rng.integers(4) + rng.normal(0, 0.05)
            )
            yield thing
