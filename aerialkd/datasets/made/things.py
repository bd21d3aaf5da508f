"""What stands on the ground: objects of the classes, buildings, trees, clutter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.blocks import Block, box, pick, shaded, vary
from aerialkd.datasets.made.canvas import Camera, Canvas, Colour, fixed_point, hull
from aerialkd.datasets.made.ground import Road

ROOFS: tuple[Colour, ...] = (
    (150, 152, 155),
    (90, 100, 150),
    (70, 80, 120),
    (170, 140, 110),
    (120, 125, 130),
    (60, 90, 160),
)
LEAVES: tuple[Colour, ...] = ((40, 78, 58), (52, 92, 66), (44, 84, 84))
CLUTTER: tuple[Colour, ...] = (
    (90, 110, 80),
    (130, 130, 130),
    (60, 70, 150),
    (180, 180, 175),
    (140, 100, 60),
)


@dataclass
class Thing:
    """Blocks at a place of the canvas.

    Attributes:
        blocks: from the lowest upwards.
        centre: (2,) in pixels of the canvas.
        heading: direction of the blocks' positive x in radians.
        name: class; empty for what is no object.
    """

    blocks: Sequence[Block]
    centre: NDArray
    heading: float
    name: str = ''
    _plans: list[NDArray] = field(default_factory=list, init=False)

    def plans(self, camera: Camera) -> list[NDArray]:
        """Ground plan of each block, (n, 2) in pixels of the canvas."""
        if not self._plans:
            cos, sin = np.cos(self.heading), np.sin(self.heading)
            turn = np.array([[cos, sin], [-sin, cos]]) * camera.pixels_per_metre
            self._plans = [self.centre + block.plan() @ turn for block in self.blocks]
        return self._plans

    def outline(self, camera: Camera) -> NDArray:
        """All corners of the blocks as they appear in the picture, (n, 2)."""
        return np.concatenate(
            [
                camera.project(plan, height)
                for block, plan in zip(self.blocks, self.plans(camera), strict=True)
                for height in block.z
            ]
        )

    def footprint(self, camera: Camera) -> NDArray:
        """Rectangle around the ground plans along the heading, (4, 2)."""
        x = (min(b.x[0] for b in self.blocks), max(b.x[1] for b in self.blocks))
        y = (min(b.y[0] for b in self.blocks), max(b.y[1] for b in self.blocks))
        around = Thing(
            [Block(x, y, (0, 0), (0, 0, 0), (0, 0, 0))], self.centre, self.heading
        )
        return around.plans(camera)[0]

    def cast_shadow(self, canvas: Canvas) -> None:
        """Note the shadow of every block."""
        for block, plan in zip(self.blocks, self.plans(canvas.camera), strict=True):
            canvas.cast_shadow(plan, block.z[1])

    def draw(self, canvas: Canvas, owner: int) -> None:
        """Paint sides, then top, of every block, darker where a shadow falls."""
        light = 1 - 0.4 * self._shade(canvas)
        for block, plan in zip(self.blocks, self.plans(canvas.camera), strict=True):
            bottom, top = (canvas.camera.project(plan, height) for height in block.z)
            _fill(canvas, hull(bottom, top), shaded(block.side, light), owner)
            _fill(canvas, fixed_point(top), shaded(block.top, light), owner)

    def _shade(self, canvas: Canvas) -> float:
        """Whether shadows of higher things fall on it, 0 or 1.

        Looked up at the sunny side of the footprint, where its own shadow is not.
        """
        away = canvas.camera.sun / (np.linalg.norm(canvas.camera.sun) + 1e-6)
        extent = np.ptp(self.footprint(canvas.camera), axis=0).max() / 2
        x, y = np.round(self.centre - away * (extent + 2)).astype(int)
        inside = 0 <= x < canvas.size and 0 <= y < canvas.size
        return float(canvas.shade[y, x] > 0) if inside else 0.0


class Sunlit(Thing):
    """Something in a dense row: the shadows of its neighbours do not reach its top."""

    def _shade(self, canvas: Canvas) -> float:
        return 0.0


def building(rng: np.random.Generator, centre: NDArray, heading: float) -> Thing:
    """A flat-roofed house with parapet and things on the roof."""
    length, width = rng.uniform(8, 22), rng.uniform(7, 13)
    height, roof = rng.uniform(3, 11), pick(rng, ROOFS)
    wall = vary(rng, (150, 165, 175), 20)
    blocks = [
        box((-length / 2, length / 2), width, (0, height), shaded(roof, 0.8), wall),
        box(
            (-length / 2 + 0.5, length / 2 - 0.5),
            width - 1,
            (height, height + 0.02),
            roof,
        ),
    ]
    for _ in range(rng.integers(1, 6)):
        x = rng.uniform(-length / 2 + 1, length / 2 - 3)
        y = rng.uniform(-width / 2 + 1, width / 2 - 3)
        side = rng.uniform(0.8, 2.2)
        z = (height, height + rng.uniform(0.4, 1.8))
        top = pick(rng, CLUTTER)
        blocks.append(Block((x, x + side), (y, y + side), z, shaded(top), top))
    return Thing(blocks, centre, heading)


def tree(rng: np.random.Generator, centre: NDArray) -> Thing:
    """A crown of leaf clumps, lighter on top."""
    radius, colour = rng.uniform(1.0, 2.4), pick(rng, LEAVES)
    blocks = []
    for height in np.sort(rng.uniform(1.0, 4.0, 16)):
        r = radius * rng.uniform(0.3, 0.55)
        x, y = rng.normal(0, radius * 0.42, 2)
        light = 0.75 + 0.11 * height + rng.normal(0, 0.07)
        top = shaded(colour, light)
        z = (height, height + 0.3)
        blocks.append(
            Block(
                (x - r, x + r), (y - r, y + r), z, shaded(top, 0.8), top, is_round=True
            )
        )
    return Thing(blocks, centre, 0.0)


def street_trees(
    rng: np.random.Generator, camera: Camera, roads: Sequence[Road]
) -> list[Thing]:
    """Rows of trees along one side of some of the roads."""
    trees = []
    for road in roads:
        if rng.random() < 0.5:
            continue
        aside = rng.choice([-1, 1]) * (road.width / 2 + 1.2) * camera.pixels_per_metre
        line = road.aside(aside)
        step = np.linalg.norm(np.diff(line, axis=0), axis=1).mean()
        every = max(1, round(rng.uniform(6, 11) * camera.pixels_per_metre / step))
        trees += [tree(rng, point) for point in line[:: int(every)]]
    return trees


def clutter(rng: np.random.Generator, centre: NDArray) -> Thing:
    """A skip, kiosk, crate or heap that could be taken for an object."""
    length, width = rng.uniform(0.5, 3.5), rng.uniform(0.4, 1.8)
    top = pick(rng, CLUTTER)
    z = (0.0, rng.uniform(0.3, 1.8))
    round_one = bool(rng.random() < 0.3)
    block = box((-length / 2, length / 2), width, z, top, is_round=round_one)
    return Thing([block], centre, rng.uniform(0, 2 * np.pi))


def _fill(canvas: Canvas, points: NDArray, colour: Colour, owner: int) -> None:
    cv2.fillConvexPoly(canvas.colours, points, colour, cv2.LINE_8, 4)
    cv2.fillConvexPoly(canvas.owners, points, owner, cv2.LINE_8, 4)
