"""Made pictures of harbours and of ships at sea, seen straight down."""

from __future__ import annotations

import numpy as np

from aerialkd.datasets.made.canvas import Canvas
from aerialkd.datasets.made.craft import (
    SHIPS,
    boat,
    cargo_ship,
    carrier,
    ferry,
    warship,
)
from aerialkd.datasets.made.film import satellite_photo
from aerialkd.datasets.made.port import Quay, buoys, sailing
from aerialkd.datasets.made.scene import (
    OVERSAMPLING,
    Scene,
    compose,
    seen_from_above,
)
from aerialkd.datasets.made.things import Thing
from aerialkd.datasets.made.traffic import Occupancy
from aerialkd.datasets.made.water import flood

Rng = np.random.Generator
MAX_SHIPS = 20
_FLEETS = (
    (warship, warship, warship, ferry, carrier),
    (warship,),
    (cargo_ship, cargo_ship, ferry),
)


def render_harbour(rng: Rng, size: int) -> Scene:
    """Make one picture with 1 to 20 ships; equal generators make equal pictures.

    Args:
        rng: decides everything.
        size: side of the picture in pixels, at least 64.
    """
    while True:
        # From a few boats to a fleet; small pictures show less, or ships were specks.
        widths = np.log([min(130, 1.2 * size), min(600, 2.4 * size)])
        metres = float(np.exp(rng.uniform(*widths)))
        canvas = Canvas(size * OVERSAMPLING, seen_from_above(rng, size / metres))
        placed = _at_sea(rng, canvas) if rng.random() < 0.3 else _in_port(rng, canvas)
        objects = compose(canvas, rng, placed)
        if 1 <= len(objects) <= MAX_SHIPS:
            return satellite_photo(canvas, rng, objects, size)


def _at_sea(rng: Rng, canvas: Canvas) -> list[Thing]:
    """A few ships under way on open water."""
    flood(canvas, rng, np.ones((canvas.size, canvas.size), np.uint8))
    ground = Occupancy(canvas)
    placed = sailing(rng, canvas, ground, SHIPS, int(rng.integers(2, 9)))
    return [*placed, *ground.place(buoys(rng, canvas, 3), 0)]


def _in_port(rng: Rng, canvas: Canvas) -> list[Thing]:
    """Ships along a quay or at piers, sheds and cranes behind it."""
    quay, ground = Quay(canvas, rng), Occupancy(canvas)
    quay.paint(rng)
    quay.block_land(ground)
    kind = rng.choice(['marina', 'jetties', 'quay'], p=(0.28, 0.32, 0.4))
    if kind == 'marina':
        piers = quay.piers(rng, ground, (30, 90))
        ships = [ship for pier in piers for ship in quay.moored_at(rng, pier)]
        for pier in piers:
            pier.name = ''  # ships are the only class
        some = rng.permutation(len(ships))[: int(rng.integers(6, 20))]
        ships = [ships[index] for index in some]
        placed = [*piers, *ground.place(ships, 0)]
    elif kind == 'jetties':
        piers = quay.piers(rng, ground, (90, 240), (13, 26), (50, 120))
        fleet = _FLEETS[int(rng.integers(len(_FLEETS)))]
        for pier in piers:
            pier.name = ''
        ships = [s for pier in piers for s in quay.alongside(rng, pier, fleet)]
        placed = [*piers, *ground.place(ships, 0)]
    else:
        models = SHIPS if rng.random() < 0.6 else (warship, ferry)
        placed = ground.place(quay.moored(rng, models), 0)
    placed += sailing(rng, canvas, ground, (*SHIPS, boat), int(rng.integers(0, 4)))
    land = Occupancy(canvas)
    stores = [thing for thing in quay.stores(rng) if land.claim(thing)]
    return [*placed, *stores, *ground.place(buoys(rng, canvas, 3), 0)]
