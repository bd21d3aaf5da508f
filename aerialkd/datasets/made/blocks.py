"""Objects as upright blocks with coloured sides and tops, in metres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.canvas import Colour

GLASS: Colour = (52, 44, 40)
TYRE: Colour = (38, 38, 38)
SKIN: Colour = (120, 150, 200)
# White, silver, black, grey, red, blue, brown, as often as on Chinese roads.
CAR_PAINTS: tuple[tuple[float, Colour], ...] = (
    (0.32, (232, 232, 230)),
    (0.18, (178, 176, 172)),
    (0.20, (46, 44, 44)),
    (0.10, (110, 106, 104)),
    (0.09, (48, 44, 168)),
    (0.07, (150, 92, 48)),
    (0.04, (60, 90, 130)),
)
CLOTHES: tuple[Colour, ...] = (
    (40, 40, 44),
    (190, 190, 196),
    (60, 60, 190),
    (170, 100, 50),
    (70, 150, 210),
    (90, 120, 70),
    (150, 90, 160),
)
AWNINGS: tuple[Colour, ...] = (
    (190, 110, 40),
    (70, 130, 60),
    (60, 60, 190),
    (40, 150, 220),
)


@dataclass(frozen=True)
class Block:
    """An upright prism; the object's front is at positive x.

    Attributes:
        x, y: from and to, in metres from the object's centre.
        z: from and to, in metres above the ground.
        side, top: colours.
        is_round: whether the ground plan is an ellipse.
        outline: (n, 2), a convex ground plan that is neither; ``x`` and ``y`` are its
            extent.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]
    side: Colour
    top: Colour
    is_round: bool = False
    outline: NDArray | None = None

    def plan(self) -> NDArray:
        """Outline of the ground plan, (n, 2) in metres."""
        if self.outline is not None:
            return self.outline
        (x0, x1), (y0, y1) = self.x, self.y
        if not self.is_round:
            return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        radii = np.array([x1 - x0, y1 - y0]) / 2
        corners = 10 if radii.max() < 2 else 32  # as many as can be seen
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        centre = np.array([x0 + x1, y0 + y1]) / 2
        return centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)


Model = Callable[[np.random.Generator], Sequence[Block]]


def box(
    x: tuple[float, float],
    width: float,
    z: tuple[float, float],
    top: Colour,
    side: Colour | None = None,
    is_round: bool = False,
) -> Block:
    """A block in the middle of the object's width; sides are darker than the top."""
    return Block(x, (-width / 2, width / 2), z, side or shaded(top), top, is_round)


def prism(
    outline: NDArray, z: tuple[float, float], top: Colour, side: Colour | None = None
) -> Block:
    """A block over a convex polygon (n, 2)."""
    (x0, y0), (x1, y1) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    return Block(
        (x0, x1), (y0, y1), z, side or shaded(top), top, outline=np.asarray(outline)
    )


def enlarged(blocks: Sequence[Block], factor: float) -> list[Block]:
    """The same object, larger in all directions."""
    return [
        replace(
            block,
            x=(block.x[0] * factor, block.x[1] * factor),
            y=(block.y[0] * factor, block.y[1] * factor),
            z=(block.z[0] * factor, block.z[1] * factor),
            outline=None if block.outline is None else block.outline * factor,
        )
        for block in blocks
    ]


def extent(blocks: Sequence[Block]) -> tuple[float, float]:
    """Length and width of an object in metres."""
    xs = [edge for block in blocks for edge in block.x]
    ys = [edge for block in blocks for edge in block.y]
    return max(xs) - min(xs), max(ys) - min(ys)


def shaded(colour: Colour, factor: float = 0.62) -> Colour:
    """The colour of a side that the sun does not reach."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def vary(rng: np.random.Generator, colour: Colour, spread: float = 12) -> Colour:
    """A colour near the given one: lighter or darker, hardly another hue."""
    change = rng.normal(0, spread) + rng.normal(0, 0.3 * spread, 3)
    blue, green, red = np.clip(np.add(colour, change), 5, 250)
    return (float(blue), float(green), float(red))


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours, varied."""
    return vary(rng, colours[int(rng.integers(len(colours)))])


def car_paint(rng: np.random.Generator) -> Colour:
    """A car's colour."""
    weights = np.array([weight for weight, _ in CAR_PAINTS])
    index = int(rng.choice(len(CAR_PAINTS), p=weights / weights.sum()))
    return vary(rng, CAR_PAINTS[index][1], 8)


def rider(rng: np.random.Generator, x: float, seat: float) -> list[Block]:
    """Somebody on a two- or three-wheeler."""
    shirt = pick(rng, CLOTHES)
    hat = vary(rng, (45, 45, 50) if rng.random() < 0.6 else (60, 90, 210), 20)
    return [
        box((x - 0.25, x + 0.25), 0.56, (seat, seat + 0.6), shirt, is_round=True),
        box((x - 0.14, x + 0.14), 0.28, (seat + 0.6, seat + 0.85), hat, is_round=True),
    ]
