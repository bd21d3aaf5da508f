"""Ships, planes, helicopters and what belongs to them, as blocks seen from above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.blocks import (
    Block,
    Model,
    box,
    pick,
    prism,
    shaded,
    vary,
)
from aerialkd.datasets.made.canvas import Colour

Rng = np.random.Generator
STEEL: Colour = (120, 116, 110)
WHITE: Colour = (228, 228, 226)
HULLS: tuple[Colour, ...] = (
    (60, 56, 54),
    (50, 50, 130),
    (120, 80, 40),
    (200, 198, 194),
    (70, 90, 60),
)
CONTAINERS: tuple[Colour, ...] = (
    (50, 60, 160),
    (150, 90, 40),
    (70, 120, 70),
    (60, 130, 190),
    (170, 170, 165),
    (90, 60, 60),
)


def hull(length: float, width: float, point: float) -> NDArray:
    """Outline of a hull with its bow at positive x; ``point`` is the bow's share."""
    a, b = length / 2, width / 2
    shoulder = a - point * length
    side = [
        (-a, 0.8 * b),
        (-0.8 * a, b),
        (shoulder, b),
        (a - 0.35 * point * length, b / 2),
    ]
    right = np.array(side)
    return np.concatenate([right * [1, -1], [[a, 0]], right[::-1]])


def _ship(
    length: float, width: float, point: float, deck: Colour, side: Colour, high: float
) -> list[Block]:
    outline = hull(length, width, point)
    return [
        prism(outline, (0, high), side, shaded(side)),
        prism(outline * [0.97, 0.88], (high, high + 0.1), deck),
    ]


def cargo_ship(rng: Rng) -> Sequence[Block]:
    """A freighter: bridge astern, containers or hatches in front of it."""
    length = rng.uniform(60, 150)
    width = length * rng.uniform(0.13, 0.17)
    deck = pick(rng, ((80, 80, 130), (90, 110, 90), (110, 110, 112)))
    blocks = _ship(length, width, 0.12, deck, pick(rng, HULLS), 4)
    bays, rows = int(rng.integers(5, 9)), int(rng.integers(3, 6))
    start, step = -0.26 * length, 0.62 * length / bays
    full = rng.random() < 0.6
    for bay in range(bays):
        x = start + bay * step
        if not full:
            lid = vary(rng, (130, 140, 140), 6)
            blocks.append(box((x, x + 0.8 * step), 0.66 * width, (4, 5), lid))
            continue
        for row in range(rows):
            y = (row / rows - 0.5) * 0.8 * width
            z = (4.0, 6.0 + 2.4 * rng.integers(0, 3))
            colour = pick(rng, CONTAINERS)
            ys = (y, y + 0.76 * width / rows)
            blocks.append(Block((x, x + 0.88 * step), ys, z, shaded(colour), colour))
    bridge = vary(rng, WHITE, 5)
    blocks.append(box((-0.42 * length, -0.32 * length), 0.82 * width, (4, 9), bridge))
    blocks.append(box((-0.41 * length, -0.38 * length), 0.2 * width, (9, 11), STEEL))
    return blocks


def warship(rng: Rng) -> Sequence[Block]:
    """A grey slender ship with a stepped superstructure, gun and landing deck."""
    length = rng.uniform(50, 130)
    width = length * rng.uniform(0.1, 0.125)
    grey = vary(rng, (140, 136, 130), 10)
    blocks = _ship(length, width, 0.25, shaded(grey, 0.85), grey, 3)
    for low, high, share, top in (
        (-0.22, 0.18, 0.72, 6.0),
        (-0.12, 0.14, 0.5, 8.0),
        (0.02, 0.1, 0.3, 11.0),
        (-0.18, -0.12, 0.3, 9.0),
    ):
        tone = vary(rng, grey, 5)
        xs = (low * length, high * length)
        blocks.append(box(xs, share * width, (3, top), tone))
    gun = (0.25 * length, 0.29 * length)
    blocks.append(box(gun, 0.28 * width, (3, 5), shaded(grey, 0.9), is_round=True))
    pad = (-0.42 * length, -0.28 * length)
    blocks.append(box(pad, 0.7 * width, (3, 3.1), shaded(grey, 0.65)))
    ring = (-0.38 * length, -0.32 * length)
    blocks.append(box(ring, 0.06 * length, (3.1, 3.2), WHITE, is_round=True))
    return blocks


def ferry(rng: Rng) -> Sequence[Block]:
    """White decks over the whole length, lifeboats along them, a funnel."""
    length = rng.uniform(35, 90)
    width = length * rng.uniform(0.17, 0.22)
    blocks = _ship(length, width, 0.15, (150, 160, 165), vary(rng, WHITE, 6), 4)
    for low, high, share, top in ((-0.44, 0.33, 0.86, 6), (-0.36, 0.24, 0.66, 8)):
        xs = (low * length, high * length)
        blocks.append(box(xs, share * width, (4, top), vary(rng, WHITE, 6)))
    for x in np.linspace(-0.3, 0.2, 5) * length:
        for y in (-0.4, 0.36):
            orange = Block(
                (x, x + 3),
                (y * width, y * width + 1.3),
                (6, 7),
                (30, 90, 190),
                (40, 120, 230),
            )
            blocks.append(orange)
    blocks.append(box((-0.2 * length, -0.14 * length), 3, (8, 11), pick(rng, HULLS)))
    return blocks


def boat(rng: Rng) -> Sequence[Block]:
    """A yacht, launch or fishing boat."""
    length = rng.uniform(8, 24)
    width = length * rng.uniform(0.26, 0.34)
    light = rng.random() < 0.7
    side = vary(rng, WHITE if light else pick(rng, HULLS), 8)
    deck = (150, 185, 205) if rng.random() < 0.4 else vary(rng, (200, 200, 196), 10)
    blocks = _ship(length, width, 0.4, deck, side, 1)
    start = rng.uniform(-0.3, -0.1)
    cabin = vary(rng, (235, 235, 235), 5)
    blocks.append(
        box((start * length, (start + 0.32) * length), 0.6 * width, (1, 2.4), cabin)
    )
    glass = ((start + 0.25) * length, (start + 0.32) * length)
    blocks.append(box(glass, 0.55 * width, (2.4, 2.5), (60, 50, 45)))
    return blocks


def carrier(rng: Rng) -> Sequence[Block]:
    """An aircraft carrier: angled deck, island to starboard, parked planes."""
    length = rng.uniform(180, 290)
    width = 0.21 * length
    grey = vary(rng, (104, 102, 98), 8)
    wide = np.array([[-0.36, -0.5], [0.16, -0.5], [0.4, -0.2], [0.4, 0.36]])
    wide = np.concatenate([wide, [[-0.3, 0.5], [-0.36, 0.5]]]) * [length, width]
    long = np.array([[-0.5, -0.28], [0.47, -0.24], [0.5, -0.2], [0.5, 0.2]])
    long = np.concatenate([long, [[0.47, 0.24], [-0.5, 0.3]]]) * [length, width]
    landing = np.array([[-0.49, -0.1], [-0.49, 0.05], [0.14, -0.36], [0.14, -0.46]])
    blocks = [
        prism(long, (0, 12), grey),
        prism(wide, (8, 12), grey),
        prism(landing * [length, width], (12, 12.1), shaded(grey, 0.86)),
        prism(_stripe(landing) * [length, width], (12.1, 12.2), (210, 212, 212)),
    ]
    island = (0.02 * length, 0.12 * length)
    high = Block(island, (0.32 * width, 0.44 * width), (12, 22), STEEL, WHITE)
    blocks.append(high)
    for x in np.arange(-0.3, 0.44, 0.05) * length:
        if rng.random() < 0.6 and not -5 < x < 0.14 * length:
            blocks += _jet(x, rng.uniform(0.14, 0.2) * width)
    return blocks


def _stripe(band: NDArray) -> NDArray:
    """A thin line along the middle of a band (4, 2) with its ends first and last."""
    start, end = (band[0] + band[1]) / 2, (band[2] + band[3]) / 2
    thick = np.array([0, 0.008])
    return np.array([start - thick, start + thick, end + thick, end - thick])


def _jet(x: float, y: float) -> list[Block]:
    """A parked jet, 16 m long."""
    wings = np.array([[5, 0], [-5, -5.5], [-6, 0], [-5, 5.5]])
    body = Block(
        (x - 8, x + 8), (y - 1, y + 1), (12, 14), STEEL, (150, 148, 144), is_round=True
    )
    return [prism(wings + np.array([x, y]), (12, 13.5), (165, 162, 158)), body]


SHIPS: tuple[Model, ...] = (cargo_ship, warship, ferry, boat)


def plane(rng: Rng) -> Sequence[Block]:
    """An airliner with swept wings, or a small one with straight wings."""
    large = rng.random() < 0.35
    length = rng.uniform(24, 36) if large else rng.uniform(8, 14)
    span = length * (rng.uniform(0.85, 1.0) if large else rng.uniform(1.0, 1.25))
    sweep = length * (rng.uniform(0.14, 0.22) if large else 0.02)
    thick = length * (0.1 if large else 0.12)
    skin = vary(rng, WHITE, 8)
    wing_colour = vary(rng, (205, 204, 200), 8)
    tail = pick(rng, ((60, 60, 190), (170, 100, 40), (220, 220, 218), (90, 140, 60)))
    blocks = []
    for side in (-1, 1):
        root, tip = 0.2 * length, 0.08 * length
        wing = np.array([[0.12, 0], [0.12 - root / length, 0]]) * length
        outer = np.array([[-sweep, side * span / 2], [-sweep - tip, side * span / 2]])
        blocks.append(
            prism(np.concatenate([wing, outer[::-1]]), (2.0, 2.4), wing_colour)
        )
        small = np.array([[-0.36, 0], [-0.48, 0]]) * length
        end = np.array([[-0.44, 0.19 * side], [-0.5, 0.19 * side]]) * length
        blocks.append(
            prism(np.concatenate([small, end[::-1]]), (2.4, 2.7), wing_colour)
        )
        if large:
            y, x = side * 0.17 * span, 0.06 * length
            engine = Block(
                (x - 0.04 * length, x + 0.06 * length),
                (y - 0.025 * length, y + 0.025 * length),
                (1, 1.9),
                (110, 108, 104),
                (150, 148, 144),
                is_round=True,
            )
            blocks.insert(0, engine)
    body = box((-length / 2, length / 2), thick, (2.2, 3.4), skin, is_round=True)
    fin = box((-0.49 * length, -0.36 * length), 0.02 * length, (3.4, 4.4), tail)
    cockpit = (0.42 * length, 0.455 * length)
    return [*blocks, body, box(cockpit, 0.05 * length, (3.4, 3.5), (60, 52, 48)), fin]


def helicopter(rng: Rng) -> Sequence[Block]:
    """A helicopter with its rotor at rest."""
    paint = pick(rng, ((60, 90, 70), (60, 60, 190), (180, 170, 160), (190, 150, 60)))
    turn = rng.uniform(0, np.pi / 2)
    blades = []
    for angle in (turn, turn + np.pi / 2):
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        corners = [5.2 * a * along + 0.22 * b * across for a, b in _CORNERS]
        blades.append(prism(np.array(corners), (3.2, 3.3), (70, 70, 72)))
    return [
        box((-6.0, 0), 0.6, (1.5, 2.2), shaded(paint, 0.9)),
        box((-6.2, -5.6), 2.0, (2.0, 2.2), paint),
        box((-2.2, 2.9), 2.2, (0.5, 2.8), paint, is_round=True),
        box((1.2, 2.7), 1.5, (2.8, 2.85), (70, 58, 50), is_round=True),
        *blades,
    ]


_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))
