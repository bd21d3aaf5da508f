"""A shore with a quay, piers, moored ships, and what stands behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.blocks import (
    Block,
    Model,
    box,
    enlarged,
    extent,
    pick,
    shaded,
    vary,
)
from aerialkd.datasets.made.canvas import Canvas, fixed_point
from aerialkd.datasets.made.craft import CONTAINERS, boat
from aerialkd.datasets.made.ground import PAVING, paint_ground
from aerialkd.datasets.made.things import ROOFS, Sunlit, Thing
from aerialkd.datasets.made.traffic import Occupancy
from aerialkd.datasets.made.water import flood, foam, wake

Rng = np.random.Generator


class Quay:
    """A straight shore: land on one side, water on the other.

    Args:
        canvas: to build on.
        rng: decides where and how it runs.
    """

    def __init__(self, canvas: Canvas, rng: Rng) -> None:
        self.canvas = canvas
        self.metre = canvas.camera.pixels_per_metre
        self.heading = float(rng.uniform(0, 2 * np.pi))
        self.along = np.array([np.cos(self.heading), np.sin(self.heading)])
        self.to_sea = np.array([-self.along[1], self.along[0]])
        middle = np.full(2, canvas.size / 2)
        self.origin = middle - self.to_sea * rng.uniform(0.1, 0.38) * canvas.size
        self.reach = 0.75 * canvas.size / self.metre  # metres in sight, either way

    def point(self, along: float, out: float) -> NDArray:
        """Canvas point so many metres along the quay and out to sea, (2,)."""
        return self.origin + (along * self.along + out * self.to_sea) * self.metre

    def strip(self, near: float, far: float) -> NDArray:
        """Corners (4, 2) of the ground between two distances from the edge."""
        r = 2 * self.reach
        return np.stack(
            [self.point(*at) for at in ((-r, near), (r, near), (r, far), (-r, far))]
        )

    def paint(self, rng: Rng) -> None:
        """Ground, concrete along the edge, water in front of it."""
        canvas = self.canvas
        paint_ground(canvas, rng)
        canvas.fill(self.strip(-rng.uniform(25, 60), 0), vary(rng, PAVING, 10))
        water = canvas.mask()
        sea = fixed_point(self.strip(0, 3 * self.reach))
        cv2.fillConvexPoly(water, sea, 1, cv2.LINE_8, 4)
        flood(canvas, rng, water)
        foam(canvas, rng, water)
        canvas.fill(self.strip(-1.5, 0), vary(rng, (128, 134, 136), 8))

    def block_land(self, ground: Occupancy) -> None:
        """Keep what swims off the land."""
        ground.block(self.strip(-3 * self.reach, 0))

    def piers(
        self,
        rng: Rng,
        ground: Occupancy,
        lengths: tuple[float, float],
        widths: tuple[float, float] = (3, 8),
        gaps: tuple[float, float] = (24, 50),
    ) -> list[Thing]:
        """Jetties out to sea, whose room is taken; the class of DOTA is harbor.

        Args:
            rng: decides about all of them.
            ground: where they take their room.
            lengths: of a pier, from and to, in metres.
            widths: of a pier.
            gaps: between two piers.
        """
        placed, at = [], -self.reach + rng.uniform(0, 30)
        while at < self.reach:
            long, wide = rng.uniform(*lengths), rng.uniform(*widths)
            top = vary(rng, (140, 150, 158), 10)
            blocks = [box((-long / 2, long / 2), wide, (0, 1), top)]
            seam = 0.62 if wide < 10 else 0.88
            # Planks of a jetty, seams of a concrete pier.
            bollards = np.arange(-long / 2 + 2, long / 2 - 1, 7 if wide < 10 else 20)
            blocks += [
                box((x, x + 0.7), 0.85 * wide, (1, 1.05), shaded(top, seam))
                for x in bollards.tolist()
            ]
            if wide > 10:
                blocks += _cargo(rng, long, wide)
            turn = self.heading + np.pi / 2
            placed.append(Thing(blocks, self.point(at, long / 2), turn, 'harbor'))
            at += wide + rng.uniform(*gaps)
        for pier in placed:
            ground.block(pier.footprint(self.canvas.camera))
        return placed

    def alongside(
        self, rng: Rng, pier: Thing, models: Sequence[Model]
    ) -> Iterator[Thing]:
        """Ships along both sides of a wide pier, sometimes two abreast."""
        (x0, x1), width = pier.blocks[0].x, pier.blocks[0].y[1]
        for side in (-1, 1):
            x = x0 + rng.uniform(2, 25)
            while x < x1 - 10:
                off, berth = side * (width + 1.2), 0.0
                for _ in range(int(rng.choice([1, 1, 2]))):
                    blocks = models[int(rng.integers(len(models)))](rng)
                    long, wide = extent(blocks)
                    berth = berth or long
                    place = self._beside(pier, x + berth / 2, off + side * wide / 2)
                    turn = np.pi * rng.integers(2) + rng.normal(0, 0.01)
                    if rng.random() < 0.75:
                        yield Sunlit(blocks, place, pier.heading + turn, 'ship')
                    off += side * (wide + 1.5)
                x += berth + rng.uniform(5, 30)

    def _beside(self, pier: Thing, x: float, y: float) -> NDArray:
        """Canvas point so many metres along a pier and aside from its middle, (2,)."""
        out = np.array([np.cos(pier.heading), np.sin(pier.heading)])
        return pier.centre + (x * out + y * np.array([-out[1], out[0]])) * self.metre

    def moored_at(self, rng: Rng, pier: Thing) -> Iterator[Thing]:
        """Boats with their bow to a pier, on both sides of it."""
        (x0, x1), width = pier.blocks[0].x, pier.blocks[0].y[1]
        full = rng.uniform(0.6, 0.97)
        for side in (-1, 1):
            x = x0 + 5 + rng.uniform(0, 6)
            while x < x1 - 3:
                model = enlarged(boat(rng), 0.7)
                long, wide = extent(model)
                place = self._beside(pier, x, side * (width + 0.6 + long / 2))
                heading = pier.heading - side * np.pi / 2 + rng.normal(0, 0.03)
                if rng.random() < full:
                    yield Sunlit(model, place, heading, 'ship')
                x += wide + rng.uniform(0.8, 2.5)

    def moored(self, rng: Rng, models: Sequence[Model]) -> Iterator[Thing]:
        """Ships along the quay, sometimes two or three abreast."""
        at = -self.reach + rng.uniform(0, 30)
        while at < self.reach:
            long, out = 0.0, 1.5
            for _ in range(int(rng.choice([1, 1, 2, 3]))):
                model = models[int(rng.integers(len(models)))](rng)
                length, width = extent(model)
                if long and length > 1.4 * long:
                    break
                heading = self.heading + np.pi * rng.integers(2) + rng.normal(0, 0.01)
                place = self.point(at + max(long, length) / 2, out + width / 2)
                yield Sunlit(model, place, heading, 'ship')
                long, out = max(long, length), out + width + rng.uniform(0.8, 3)
            at += long + rng.uniform(6, 35)

    def stores(self, rng: Rng) -> Iterator[Thing]:
        """Sheds, stacked containers and cranes on the land."""
        at = -self.reach
        while at < self.reach:
            kind = rng.choice(['shed', 'stack', 'crane', 'nothing'], p=_STORES)
            if kind == 'shed':
                blocks, back = shed(rng), rng.uniform(22, 45)
            elif kind == 'stack':
                blocks, back = containers(rng), rng.uniform(14, 40)
            else:
                blocks, back = _crane(rng), 5.0
            if kind != 'nothing':
                yield Thing(blocks, self.point(at, -back), self.heading)
            at += rng.uniform(14, 45)


_STORES = (0.35, 0.35, 0.15, 0.15)


def sailing(
    rng: Rng, canvas: Canvas, ground: Occupancy, models: Sequence[Model], number: int
) -> list[Thing]:
    """Ships anywhere on free water, most of them with a wake."""
    metre = canvas.camera.pixels_per_metre
    placed: list[Thing] = []
    for _ in range(number):
        blocks = models[int(rng.integers(len(models)))](rng)
        centre, heading = rng.uniform(0, canvas.size, 2), rng.uniform(0, 2 * np.pi)
        ship = Sunlit(blocks, centre, heading, 'ship')
        length, width = extent(blocks)
        if length * metre > 0.8 * canvas.size or not ground.claim(ship, 1.5):
            continue
        placed.append(ship)
        if rng.random() < 0.7:
            back = -np.array([np.cos(heading), np.sin(heading)])
            wake(
                canvas, rng, centre + back * 0.45 * length * metre, back, width * metre
            )
    return placed


def buoys(rng: Rng, canvas: Canvas, number: int) -> Iterator[Thing]:
    """Small bright things on the water that are no ships."""
    for _ in range(number):
        colour = pick(rng, ((40, 60, 200), (60, 170, 220), (200, 200, 200)))
        side = rng.uniform(1, 2.5)
        blocks = [box((-side / 2, side / 2), side, (0, 1), colour, is_round=True)]
        yield Thing(blocks, rng.uniform(0, canvas.size, 2), 0.0)


def shed(rng: Rng) -> list[Block]:
    """A warehouse with a ribbed roof."""
    length, width = rng.uniform(25, 60), rng.uniform(14, 24)
    roof = pick(rng, ROOFS)
    ridges = [
        box((x, x + 0.5), width, (7, 7.1), shaded(roof, 0.85))
        for x in np.arange(-length / 2 + 2, length / 2 - 1, 5).tolist()
    ]
    return [box((-length / 2, length / 2), width, (0, 7), roof), *ridges]


def containers(rng: Rng) -> list[Block]:
    """Containers in rows, one to three on top of each other."""
    blocks = []
    for row in range(int(rng.integers(2, 9))):
        for column in range(int(rng.integers(1, 5))):
            colour = pick(rng, CONTAINERS)
            x, y = 12.6 * column - 12, 2.7 * row - 6
            z = (0, 2.6 * rng.integers(1, 4))
            blocks.append(Block((x, x + 12.2), (y, y + 2.4), z, shaded(colour), colour))
    return blocks


def _cargo(rng: Rng, long: float, wide: float) -> list[Block]:
    """What lies and stands on a wide pier: crates, lorries, a small shed."""
    blocks = []
    for _ in range(int(long / 6)):
        x, y = rng.uniform(-0.48, 0.44) * long, rng.uniform(-0.42, 0.36) * wide
        length, width = rng.choice([[2.5, 1.5], [4.5, 1.8], [1.8, 4.5], [9, 2.5]])
        top = pick(rng, (*CONTAINERS, (200, 200, 200), (120, 124, 126)))
        ys = (y, min(y + width, 0.48 * wide))
        z = (1.0, 1.0 + rng.uniform(0.5, 2.5))
        blocks.append(Block((x, min(x + length, 0.49 * long)), ys, z, shaded(top), top))
    return blocks


def _crane(rng: Rng) -> list[Block]:
    """A gantry: two legs and a boom that reaches over the water."""
    colour = pick(rng, ((50, 60, 190), (60, 170, 220), (170, 110, 50)))
    boom = Block((-1.2, 1.2), (-12, 26), (22, 23), shaded(colour), colour)
    legs = [box((x, x + 1.5), 12, (0, 20), shaded(colour, 0.8)) for x in (-6, 5)]
    cross = [Block((-6, 6.5), (y, y + 1), (20, 21), colour, colour) for y in (-6, 5)]
    return [*legs, *cross, boom]
