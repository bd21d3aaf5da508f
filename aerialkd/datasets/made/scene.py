"""Made drone photos: streets, car parks and fields with small objects."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made import things, traffic
from aerialkd.datasets.made.canvas import Camera, Canvas, fractal_noise
from aerialkd.datasets.made.ground import lay_car_park, lay_roads, paint_ground

OVERSAMPLING = 2  # canvas pixels a pixel of the picture
MIN_VISIBLE = 0.25  # of an object's area; less is not annotated
MIN_SIDE = 3  # pixels
MIN_OBJECTS, MAX_OBJECTS = 5, 200  # in a picture
ATTEMPTS = 4  # to reach MIN_OBJECTS; pictures of few metres have no room for them


@dataclass(frozen=True)
class SceneObject:
    """An annotated object.

    Attributes:
        name: class.
        box: x1, y1, x2, y2 in whole pixels of the picture, cut at its border.
        corners: (4, 2), rectangle along the heading on the ground, front edge
            second to third corner; not cut.
        occlusion: fraction of the object that other things hide, 0..1.
        truncation: fraction that lies outside the picture, 0..1.
    """

    name: str
    box: tuple[int, int, int, int]
    corners: NDArray
    occlusion: float
    truncation: float


@dataclass(frozen=True)
class Scene:
    """A made photo.

    Attributes:
        image: (size, size, 3) uint8, blue green red.
        objects: annotated ones; none lies in an ignored region.
        ignored: x1, y1, x2, y2 of regions whose objects are not annotated.
    """

    image: NDArray[np.uint8]
    objects: list[SceneObject]
    ignored: list[tuple[int, int, int, int]]


def render_scene(rng: np.random.Generator, size: int) -> Scene:
    """Make one photo; equal generators make equal photos.

    Args:
        rng: decides everything.
        size: side of the picture in pixels, at least 64.
    """
    scenes = []
    for _ in range(ATTEMPTS):
        scenes.append(_render(rng, size))
        if len(scenes[-1].objects) >= MIN_OBJECTS:
            break
    return max(scenes, key=lambda scene: len(scene.objects))


def _render(rng: np.random.Generator, size: int) -> Scene:
    """One photo, whatever is on it."""
    camera = Camera(
        pixels_per_metre=OVERSAMPLING
        * float(np.exp(rng.uniform(np.log(5.0), np.log(10.0)))),
        tilt=rng.uniform(0.0, 0.55),
        sun=_sun(rng),
    )
    canvas = Canvas(size * OVERSAMPLING, camera)
    objects = compose(canvas, rng, _furnish(canvas, rng))
    ignored = _ignored_regions(rng, objects, size)
    objects = [o for o in objects if not any(_mostly_in(o.box, r) for r in ignored)]
    return photograph(canvas, rng, objects, size, ignored)


def seen_from_above(rng: np.random.Generator, pixels_per_metre: float) -> Camera:
    """A camera that looks straight down, or nearly; pixels are the picture's."""
    return Camera(pixels_per_metre * OVERSAMPLING, rng.uniform(0, 0.08), _sun(rng))


def compose(
    canvas: Canvas, rng: np.random.Generator, placed: list[things.Thing]
) -> list[SceneObject]:
    """Draw things and their shadows on painted ground; returns what is annotated."""
    # Painter's order: what is lower in a tilted picture is nearer.
    placed.sort(key=lambda thing: float(thing.footprint(canvas.camera)[:, 1].max()))
    for thing in placed:
        thing.cast_shadow(canvas)
    canvas.darken(rng.uniform(0.3, 0.55))
    areas = []
    for owner, thing in enumerate(placed, start=1):
        before = canvas.owners.copy() if thing.name else None
        thing.draw(canvas, owner)
        areas.append(0 if before is None else int((canvas.owners == owner).sum()))
    return _annotate(canvas, placed, areas)


def photograph(
    canvas: Canvas,
    rng: np.random.Generator,
    objects: list[SceneObject],
    size: int,
    ignored: Sequence[tuple[int, int, int, int]] = (),
) -> Scene:
    """Take the picture of a finished canvas."""
    return Scene(_develop(canvas, rng, size), objects, list(ignored))


def _sun(rng: np.random.Generator) -> NDArray:
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.9)
    return length * np.array([np.cos(angle), np.sin(angle)])


def _furnish(canvas: Canvas, rng: np.random.Generator) -> list[things.Thing]:
    """Paint the ground and choose what stands on it."""
    size = canvas.size
    paint_ground(canvas, rng)
    heading = rng.uniform(0, 2 * np.pi)
    parks = [lay_car_park(canvas, rng, heading) for _ in range(rng.integers(0, 2))]
    turns = [0.0, np.pi / 2 + rng.normal(0, 0.1)][: int(rng.choice([1, 1, 2]))]
    roads = lay_roads(canvas, rng, [heading + turn for turn in turns])
    ground = traffic.Occupancy(canvas)
    picture = 192 * OVERSAMPLING
    wanted = np.clip(rng.lognormal(3.3, 0.55), 7, 60) * (size / picture) ** 2
    wanted = min(wanted, MAX_OBJECTS / 1.1)  # the shares below add up to 1.1
    driving = traffic.on_lanes(rng, canvas, roads)
    placed = ground.place(driving)
    for road in roads:
        ground.block_road(road)
    parked = traffic.in_car_parks(rng, parks)
    placed += ground.place(parked)
    placed = _some(rng, placed, max(4, round(0.6 * wanted)))
    for park in parks:
        ground.block(park.corners)
    placed += _houses_and_trees(canvas, rng, ground, heading)
    placed += things.street_trees(rng, canvas.camera, roads)
    others = itertools.chain(
        traffic.beside_roads(rng, canvas, roads), traffic.on_open_ground(rng, canvas)
    )
    walkers = ground.place(others, margin=0.05)
    placed += _some(rng, walkers, max(3, round(0.5 * wanted)))
    return placed


def _houses_and_trees(
    canvas: Canvas, rng: np.random.Generator, ground: traffic.Occupancy, heading: float
) -> list[things.Thing]:
    size = canvas.size
    count = max(1, round((size / 384) ** 2))
    candidates = [
        things.building(
            rng, rng.uniform(0, size, 2), heading + rng.choice([0, np.pi / 2]) + 0.01
        )
        for _ in range(int(rng.integers(1, 6)) * count)
    ]
    trees = [
        things.tree(rng, rng.uniform(0, size, 2))
        for _ in range(rng.integers(2, 14) * count)
    ]
    heaps = [
        things.clutter(rng, rng.uniform(0, size, 2))
        for _ in range(rng.integers(3, 11) * count)
    ]
    houses = [thing for thing in candidates if ground.claim(thing)]
    # Crowns reach over kerbs: trees do not ask for room, but stand beside roads.
    return [
        *houses,
        *(tree for tree in trees if ground.is_free(tree.centre)),
        *(heap for heap in heaps if ground.claim(heap)),
    ]


def _some(
    rng: np.random.Generator, placed: list[things.Thing], number: int
) -> list[things.Thing]:
    chosen = rng.permutation(len(placed))[:number]
    return [placed[index] for index in sorted(chosen)]


def _annotate(
    canvas: Canvas, placed: list[things.Thing], areas: list[int]
) -> list[SceneObject]:
    """Boxes of what can be seen; ``areas`` are the drawn pixels of each object."""
    size = canvas.size // OVERSAMPLING
    visible = np.bincount(canvas.owners.ravel(), minlength=len(placed) + 1)[1:]
    objects = []
    for thing, drawn, seen in zip(placed, areas, visible, strict=True):
        if not thing.name or not drawn:
            continue
        outline = thing.outline(canvas.camera) / OVERSAMPLING
        low, high = outline.min(axis=0), outline.max(axis=0)
        x1, y1 = np.clip(np.floor(low + 0.25), 0, size).astype(int).tolist()
        x2, y2 = np.clip(np.ceil(high - 0.25), 0, size).astype(int).tolist()
        share = seen / drawn
        if min(x2 - x1, y2 - y1) < MIN_SIDE or share < MIN_VISIBLE:
            continue
        inside = np.clip(high, 0, size) - np.clip(low, 0, size)
        truncation = 1 - float(np.prod(inside) / np.prod(high - low))
        corners = thing.footprint(canvas.camera) / OVERSAMPLING
        box = (x1, y1, x2, y2)
        objects.append(SceneObject(thing.name, box, corners, 1 - share, truncation))
    return objects


def _ignored_regions(
    rng: np.random.Generator, objects: list[SceneObject], size: int
) -> list[tuple[int, int, int, int]]:
    """Sometimes one or two rectangles around an object; enough objects stay outside."""
    regions: list[tuple[int, int, int, int]] = []
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        if not objects:
            break
        box = objects[int(rng.integers(len(objects)))].box
        centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        half = rng.uniform(0.06, 0.16, 2) * size
        x1, y1 = np.clip(centre - half, 0, size - 1).astype(int).tolist()
        x2, y2 = np.clip(centre + half, 1, size).astype(int).tolist()
        region = (x1, y1, x2, y2)
        outside = sum(
            not any(_mostly_in(o.box, r) for r in [*regions, region]) for o in objects
        )
        if outside >= 5:
            regions.append(region)
    return regions


def _mostly_in(
    box: tuple[int, int, int, int], region: tuple[int, int, int, int]
) -> bool:
    width = min(box[2], region[2]) - max(box[0], region[0])
    height = min(box[3], region[3]) - max(box[1], region[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return width > 0 and height > 0 and 2 * width * height >= area


def _develop(canvas: Canvas, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """From painted colours to a photo: optics, light, haze and sensor noise."""
    picture = cv2.resize(canvas.colours, (size, size), interpolation=cv2.INTER_AREA)
    if (blur := rng.uniform(0, 0.6)) > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    light = 1 + 0.12 * fractal_noise(rng, size, 2, 1)[..., None]
    picture = picture * light * rng.uniform(0.72, 1.12) * rng.normal(1, 0.03, 3)
    haze = rng.choice([0, 0, 1]) * rng.uniform(0.05, 0.3)
    picture = (1 - haze) * picture + haze * np.array([205.0, 200.0, 195.0])
    picture += rng.normal(0, rng.uniform(1.5, 5), (size, size, 3))
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
