"""The ten classes of VisDrone as arrangements of blocks.

People and what they ride are drawn larger than life, so that they keep the few pixels
that they have in drone photos when a picture is small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aerialkd.datasets.made.blocks import (
    AWNINGS,
    CLOTHES,
    GLASS,
    SKIN,
    TYRE,
    Block,
    Model,
    box,
    car_paint,
    enlarged,
    pick,
    rider,
    shaded,
    vary,
)


def pedestrian(rng: np.random.Generator) -> Sequence[Block]:
    """Somebody on foot."""
    legs, shirt = pick(rng, CLOTHES[:4]), pick(rng, CLOTHES)
    hair = vary(rng, (35, 35, 40) if rng.random() < 0.8 else SKIN)
    parts = [
        box((-0.2, 0.2), 0.36, (0, 0.8), legs, legs, is_round=True),
        box((-0.22, 0.22), 0.6, (0.8, 1.45), shirt, shirt, is_round=True),
        box((-0.15, 0.15), 0.3, (1.45, 1.75), hair, is_round=True),
    ]
    return enlarged(parts, 1.75)


def people(rng: np.random.Generator) -> Sequence[Block]:
    """Somebody who sits or crouches, legs stretched out."""
    legs, shirt = pick(rng, CLOTHES[:4]), pick(rng, CLOTHES)
    parts = [
        box((0.0, 0.85), 0.42, (0, 0.22), legs),
        box((-0.38, 0.22), 0.66, (0, 0.7), shirt, shirt, is_round=True),
        box((-0.2, 0.12), 0.32, (0.7, 0.98), vary(rng, (38, 38, 44)), is_round=True),
    ]
    return enlarged(parts, 1.75)


def bicycle(rng: np.random.Generator) -> Sequence[Block]:
    """A bicycle, mostly ridden."""
    frame = vary(rng, (150, 150, 155), 30)
    wheels = [box((x - 0.32, x + 0.32), 0.08, (0, 0.6), TYRE) for x in (-0.52, 0.52)]
    parts = [*wheels, box((-0.5, 0.5), 0.09, (0.5, 0.7), frame)]
    parts.append(box((0.3, 0.38), 0.6, (0.9, 1.0), frame))
    return enlarged(parts + (rider(rng, -0.1, 0.75) if rng.random() < 0.8 else []), 1.3)


def motor(rng: np.random.Generator) -> Sequence[Block]:
    """A motor scooter with leg shield, mostly ridden."""
    paint = car_paint(rng)
    parts = [
        box((-0.95, -0.35), 0.3, (0, 0.6), TYRE),
        box((0.5, 0.95), 0.24, (0, 0.6), TYRE),
        box((-0.8, 0.55), 0.46, (0.3, 0.75), paint),
        box((0.45, 0.62), 0.72, (0.5, 1.05), paint),
    ]
    return enlarged(
        parts + (rider(rng, -0.15, 0.75) if rng.random() < 0.8 else []), 1.3
    )


def car(rng: np.random.Generator) -> Sequence[Block]:
    """A saloon, hatchback or off-roader."""
    length, width = rng.uniform(3.9, 4.9), rng.uniform(1.72, 1.92)
    height, paint = rng.uniform(1.4, 1.7), car_paint(rng)
    rear, front = -0.5 + rng.choice([0.04, 0.16]), rng.uniform(0.16, 0.24)
    cabin = (rear * length, front * length)
    roof = (cabin[0] + 0.35, cabin[1] - 0.6)
    return [
        box((-length / 2, length / 2), width, (0.15, 0.85), paint),
        box(cabin, width * 0.88, (0.85, height - 0.1), GLASS, GLASS),
        box(roof, width * 0.8, (height - 0.1, height), paint),
    ]


def van(rng: np.random.Generator) -> Sequence[Block]:
    """A minibus or delivery van: one long roof, a windscreen at the front."""
    length, paint = rng.uniform(4.7, 5.8), vary(rng, (222, 222, 220), 14)
    if rng.random() < 0.4:
        paint = car_paint(rng)
    half = length / 2
    return [
        box((-half, half), 1.95, (0.2, 1.1), paint),
        box((half - 1.35, half - 0.45), 1.85, (1.1, 1.75), GLASS, GLASS),
        box((-half, half - 1.1), 1.92, (1.1, 2.1), paint),
        box((-half + 0.2, half - 1.4), 1.2, (2.1, 2.14), shaded(paint, 0.9)),
    ]


def truck(rng: np.random.Generator) -> Sequence[Block]:
    """A cab, and behind a gap an open bed or a box."""
    length = rng.uniform(6.0, 9.0)
    cab = pick(rng, ((170, 80, 40), (50, 50, 180), (220, 220, 220), (60, 150, 200)))
    load = pick(rng, ((205, 205, 205), (120, 90, 60), (70, 110, 140), (90, 130, 90)))
    half = length / 2
    parts = [
        box((-half, half), 2.2, (0.4, 0.9), (60, 60, 60)),
        box((half - 1.9, half), 2.3, (0.5, 2.4), cab),
        box((half - 0.35, half - 0.02), 2.1, (1.5, 2.2), GLASS, GLASS),
    ]
    if rng.random() < 0.5:
        return [*parts, box((-half, half - 2.3), 2.4, (0.9, 2.9), load)]
    walls = [
        box((-half, half - 2.3), 2.4, (0.9, 1.6), load),
        box((-half + 0.2, half - 2.5), 2.0, (1.6, 1.62), vary(rng, (70, 90, 100), 20)),
    ]
    return [*parts, *walls]


def tricycle(rng: np.random.Generator) -> Sequence[Block]:
    """A cargo tricycle: open bed behind, somebody in front."""
    bed = pick(rng, ((140, 80, 40), (60, 90, 60), (60, 60, 150), (110, 110, 110)))
    return [
        box((0.9, 1.4), 0.18, (0, 0.6), TYRE),
        box((-1.4, 0.2), 1.15, (0.3, 0.75), bed),
        box((-1.28, 0.08), 0.95, (0.75, 0.77), vary(rng, (60, 70, 80), 15)),
        box((0.2, 1.0), 0.5, (0.3, 0.7), shaded(bed)),
        box((0.95, 1.05), 0.8, (0.9, 1.0), TYRE),
        *rider(rng, 0.45, 0.7),
    ]


def awning_tricycle(rng: np.random.Generator) -> Sequence[Block]:
    """A tricycle under a coloured canopy."""
    canopy = pick(rng, AWNINGS)
    stripe = vary(rng, (225, 225, 225), 6)
    return [
        box((0.9, 1.45), 0.18, (0, 0.6), TYRE),
        box((-1.4, 0.9), 1.1, (0.3, 1.0), shaded(canopy, 0.5)),
        box((-1.4, 0.95), 1.35, (1.65, 1.8), canopy),
        *(box((x, x + 0.28), 1.35, (1.8, 1.81), stripe) for x in (-1.0, -0.35, 0.3)),
    ]


def bus(rng: np.random.Generator) -> Sequence[Block]:
    """A city bus: long, light roof with air conditioners, dark windows."""
    length = rng.uniform(9.5, 12.0)
    paint = pick(rng, ((60, 150, 60), (190, 120, 40), (50, 60, 190), (60, 180, 220)))
    half, roof = length / 2, vary(rng, (215, 215, 212), 8)
    units = [
        box((x, x + 1.8), 1.4, (3.1, 3.35), vary(rng, (165, 165, 165), 8))
        for x in (-half + 1.2, half - 3.6)
    ]
    return [
        box((-half, half), 2.55, (0.3, 1.4), paint),
        box((-half, half), 2.55, (1.4, 2.5), GLASS, GLASS),
        box((-half, half), 2.55, (2.5, 3.1), roof, paint),
        box((-half + 0.5, half - 0.5), 0.5, (3.1, 3.12), paint),
        *units,
    ]


MODELS_OF_CLASSES: Mapping[str, Model] = {
    'pedestrian': pedestrian,
    'people': people,
    'bicycle': bicycle,
    'car': car,
    'van': van,
    'truck': truck,
    'tricycle': tricycle,
    'awning-tricycle': awning_tricycle,
    'bus': bus,
    'motor': motor,
}
