"""Made satellite pictures: towns, ports, airfields, sports sites, depots, works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from aerialkd.datasets.made import sites, things, traffic, yards
from aerialkd.datasets.made.canvas import Canvas
from aerialkd.datasets.made.craft import boat, cargo_ship, ferry, helicopter, plane
from aerialkd.datasets.made.film import satellite_photo
from aerialkd.datasets.made.ground import lay_car_park, lay_roads, paint_ground
from aerialkd.datasets.made.models import bus, car, truck, van
from aerialkd.datasets.made.port import Quay, buoys, containers, sailing, shed
from aerialkd.datasets.made.scene import (
    MAX_OBJECTS,
    MIN_OBJECTS,
    OVERSAMPLING,
    Scene,
    compose,
    seen_from_above,
)
from aerialkd.datasets.made.things import Sunlit, Thing

Rng = np.random.Generator
_ATTEMPTS = 12  # to reach MIN_OBJECTS; pictures of few metres have little room
# DOTA's names for the vehicles that stand in streets and car parks.
DOTA_NAMES = {
    'car': 'small-vehicle',
    'van': 'small-vehicle',
    'truck': 'large-vehicle',
    'bus': 'large-vehicle',
}


def render_satellite(rng: Rng, size: int) -> Scene:
    """Make one picture; equal generators make equal pictures.

    Args:
        rng: decides everything.
        size: side of the picture in pixels, at least 64.
    """
    scenes = []
    for _ in range(_ATTEMPTS):
        place, low, high = _PLACES[int(rng.choice(len(_PLACES), p=_HOW_OFTEN))]
        resolution = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        canvas = Canvas(size * OVERSAMPLING, seen_from_above(rng, resolution))
        objects = compose(canvas, rng, _at_most(rng, place(rng, canvas)))
        scenes.append((canvas, objects))
        if len(objects) >= MIN_OBJECTS:
            break
    canvas, objects = max(scenes, key=lambda s: len(s[1]))
    return satellite_photo(canvas, rng, objects, size)


def _at_most(rng: Rng, placed: list[Thing]) -> list[Thing]:
    """Without some of the objects where there are more than a picture may have."""
    named = [index for index, thing in enumerate(placed) if thing.name]
    gone = set(rng.permutation(named)[MAX_OBJECTS:].tolist())
    return [thing for index, thing in enumerate(placed) if index not in gone]


def _town(rng: Rng, canvas: Canvas) -> list[Thing]:
    """Streets, crowded car parks, houses, some with a pool or a tennis court."""
    paint_ground(canvas, rng)
    heading, ground = float(rng.uniform(0, np.pi)), traffic.Occupancy(canvas)
    parks = [
        lay_car_park(canvas, rng, heading)
        for _ in range(int(rng.integers(1, 4)) * _share(canvas))
    ]
    turns = [0.0, np.pi / 2 + rng.normal(0, 0.05)][: int(rng.choice([1, 2]))]
    roads = lay_roads(canvas, rng, [heading + turn for turn in turns])
    placed = ground.place(_vehicles(traffic.on_lanes(rng, canvas, roads)))
    for road in roads:
        ground.block_road(road)
    parked = _vehicles(traffic.in_car_parks(rng, parks))
    placed += ground.place(parked)
    for park in parks:
        ground.block(park.corners)
    sports = sites.some(rng, canvas, heading, 3 * _share(canvas), _GARDEN)
    placed += ground.place(sports)
    return [*placed, *_houses(rng, canvas, ground, heading, 9 * _share(canvas))]


def _port(rng: Rng, canvas: Canvas) -> list[Thing]:
    """A marina or a quay with freighters; tanks, containers and lorries on land."""
    quay, ground = Quay(canvas, rng), traffic.Occupancy(canvas)
    quay.paint(rng)
    water = traffic.Occupancy(canvas)
    quay.block_land(water)
    if rng.random() < 0.65:
        gaps = (24, 50) if rng.random() < 0.5 else (22, 30)
        piers = quay.piers(rng, water, (25, 80), gaps=gaps)
        boats = (ship for pier in piers for ship in quay.moored_at(rng, pier))
        placed = [*piers, *water.place(boats, margin=0)]
    else:
        placed = water.place(quay.moored(rng, (cargo_ship, ferry)), margin=0)
    number = int(rng.integers(3, 12)) * _share(canvas)
    placed += sailing(rng, canvas, water, (boat, boat, ferry), number)
    placed += water.place(buoys(rng, canvas, 4))
    ground.block(quay.strip(0, 3 * quay.reach))
    placed += ground.place(quay.stores(rng))
    tanks = yards.tank_farm(
        rng, quay.point(0, -rng.uniform(60, 90)), quay.heading, quay.metre
    )
    placed += ground.place(tanks)
    return placed + ground.place(_lorries(rng, quay))


def _airfield(rng: Rng, canvas: Canvas) -> list[Thing]:
    """A taxiway and an apron with planes in rows, service cars, helicopters."""
    paint_ground(canvas, rng)
    ground = traffic.Occupancy(canvas)
    apron = sites.Apron(canvas, rng)
    apron.paint(rng)
    placed = ground.place(apron.parked(rng, plane))
    placed += ground.place(apron.pads(rng, helicopter))
    placed += ground.place(apron.scattered(rng, _service(rng)))
    ground.block(apron.corners)
    return [*placed, *_houses(rng, canvas, ground, apron.heading, 5 * _share(canvas))]


def _sports(rng: Rng, canvas: Canvas) -> list[Thing]:
    """Courts, pools and pitches beside a car park."""
    paint_ground(canvas, rng)
    ground, heading = traffic.Occupancy(canvas), float(rng.uniform(0, np.pi))
    parks = [lay_car_park(canvas, rng, heading) for _ in range(2 * _share(canvas))]
    cars = _vehicles(traffic.in_car_parks(rng, parks))
    placed = ground.place(cars)
    for park in parks:
        ground.block(park.corners)
    courts = sites.some(rng, canvas, heading, 14 * _share(canvas), sites.SPORTS)
    placed += ground.place(courts)
    return [*placed, *_houses(rng, canvas, ground, heading, 4 * _share(canvas))]


def _depot(rng: Rng, canvas: Canvas) -> list[Thing]:
    """A yard full of coaches, lorries or cars in rows."""
    paint_ground(canvas, rng)
    ground, yard = traffic.Occupancy(canvas), yards.lay_yard(rng, canvas, 0.95)
    placed = ground.place(yards.rows_of_vehicles(rng, yard), margin=0.1)
    ground.block(yard.corners)
    houses = _houses(rng, canvas, ground, yard.heading, 7 * _share(canvas))
    return [*placed, *houses]


def _works(rng: Rng, canvas: Canvas) -> list[Thing]:
    """Tank farms, warehouses and containers, lorries between them."""
    paint_ground(canvas, rng)
    ground, yard = traffic.Occupancy(canvas), yards.lay_yard(rng, canvas, 0.95)
    placed: list[Thing] = []
    for _ in range(int(rng.integers(1, 4)) * _share(canvas)):
        place = rng.uniform(0.1, 0.9, 2) * canvas.size
        farm = yards.tank_farm(
            rng, place, yard.heading, yard.canvas.camera.pixels_per_metre
        )
        placed += ground.place(farm)
    for _ in range(int(rng.integers(2, 6)) * _share(canvas)):
        place = rng.uniform(0, 1, 2) * canvas.size
        blocks = shed(rng) if rng.random() < 0.5 else containers(rng)
        heading = yard.heading + np.pi / 2 * rng.integers(2)
        placed += ground.place([Thing(blocks, place, heading)])
    placed += ground.place(yards.rows_of_vehicles(rng, yard))
    ground.block(yard.corners)
    return [*placed, *_houses(rng, canvas, ground, yard.heading, 5 * _share(canvas))]


# With the range of pixels a metre at which they are seen.
_PLACES: tuple[tuple[Callable[[Rng, Canvas], list[Thing]], float, float], ...] = (
    (_town, 2.2, 4.5),
    (_port, 1.2, 2.8),
    (_airfield, 1.6, 3.6),
    (_sports, 1.5, 3.2),
    (_depot, 1.8, 3.6),
    (_works, 1.4, 2.8),
)
_HOW_OFTEN = (0.36, 0.25, 0.14, 0.11, 0.08, 0.06)
_GARDEN = ('swimming-pool', 'swimming-pool', 'tennis-court', 'basketball-court')


def _share(canvas: Canvas) -> int:
    """How many times a picture of 256 pixels this one is."""
    return max(1, round((canvas.size / 512) ** 2))


def _vehicles(candidates: Iterable[Thing]) -> Iterator[Thing]:
    """Those that DOTA names; two-wheelers and people are too small."""
    for thing in candidates:
        if thing.name in DOTA_NAMES:
            thing.name = DOTA_NAMES[thing.name]
            yield thing


def _houses(
    rng: Rng, canvas: Canvas, ground: traffic.Occupancy, heading: float, number: int
) -> list[Thing]:
    size = canvas.size
    houses = [
        things.building(
            rng, rng.uniform(0, size, 2), heading + rng.choice([0, np.pi / 2]) + 0.01
        )
        for _ in range(number)
    ]
    houses = [house for house in houses if ground.claim(house)]
    heaps = [things.clutter(rng, rng.uniform(0, size, 2)) for _ in range(number)]
    heaps = [heap for heap in heaps if ground.claim(heap)]
    trees = [things.tree(rng, rng.uniform(0, size, 2)) for _ in range(3 * number)]
    return [*houses, *heaps, *(t for t in trees if ground.is_free(t.centre))]


def _lorries(rng: Rng, quay: Quay) -> Iterator[Thing]:
    """Lorries in rows on the quay, and a few cars."""
    for row in range(int(rng.integers(1, 4))):
        at, back = rng.uniform(-quay.reach, 0), rng.uniform(10, 50)
        for _ in range(int(rng.integers(3, 12))):
            large = rng.random() < 0.75
            model = truck(rng) if large else car(rng)
            name = 'large-vehicle' if large else 'small-vehicle'
            heading = quay.heading + np.pi / 2 + rng.normal(0, 0.03)
            yield Sunlit(model, quay.point(at, -back - row), heading, name)
            at += rng.uniform(3.2, 4.5)


def _service(rng: Rng) -> Iterator[Thing]:
    """Cars, buses and fuel lorries without a place yet."""
    for _ in range(int(rng.integers(6, 20))):
        model, name = [
            (car, 'small-vehicle'),
            (van, 'small-vehicle'),
            (bus, 'large-vehicle'),
            (truck, 'large-vehicle'),
        ][int(rng.choice(4, p=(0.4, 0.3, 0.1, 0.2)))]
        yield Thing(model(rng), np.zeros(2), 0.0, name)
