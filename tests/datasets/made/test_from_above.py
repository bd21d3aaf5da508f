"""Satellite and harbour pictures: what is on them, and whether the boxes fit."""

from __future__ import annotations

import functools
from collections import Counter

import cv2
import numpy as np
import pytest

from aerialkd.datasets.made import craft, satellite, scene, sites, yards
from aerialkd.datasets.made.blocks import enlarged
from aerialkd.datasets.made.canvas import Camera, Canvas
from aerialkd.datasets.made.harbour import MAX_SHIPS, render_harbour
from aerialkd.datasets.made.satellite import render_satellite
from aerialkd.datasets.made.scene import MAX_OBJECTS, MIN_OBJECTS, Scene, compose
from aerialkd.datasets.made.things import Thing

RENDERERS = {'satellite': render_satellite, 'harbour': render_harbour}
DOTA_CLASSES = {
    *('small-vehicle', 'large-vehicle', 'ship', 'plane', 'helicopter', 'harbor'),
    *('storage-tank', 'tennis-court', 'basketball-court', 'swimming-pool'),
    *('soccer-ball-field', 'ground-track-field'),
}


@functools.lru_cache
def made(kind: str, seed: int, size: int = 128) -> Scene:
    return RENDERERS[kind](np.random.default_rng(seed), size)


@pytest.mark.parametrize('kind', RENDERERS)
def test_equal_seeds_make_equal_pictures(kind: str) -> None:
    first, again = made(kind, 3), made.__wrapped__(kind, 3)
    assert (first.image == again.image).all()
    assert [o.box for o in first.objects] == [o.box for o in again.objects]
    assert (first.image != made(kind, 4).image).any()


@pytest.mark.parametrize('kind', RENDERERS)
@pytest.mark.parametrize('size', [64, 128, 400])
def test_pictures_are_as_promised(kind: str, size: int) -> None:
    scenes = [made(kind, seed, size) for seed in range(3 if size == 400 else 10)]
    for s in scenes:
        assert s.image.shape == (size, size, 3)
        assert s.image.dtype == np.uint8
        assert s.image.std() > 4, 'not a plain colour'
        assert not s.ignored
        assert 1 <= len(s.objects) <= (MAX_SHIPS if kind == 'harbour' else MAX_OBJECTS)
        for x1, y1, x2, y2 in (o.box for o in s.objects):
            assert 0 <= x1 < x2 <= size
            assert 0 <= y1 < y2 <= size


@pytest.mark.parametrize(('size', 'pictures'), [(200, 70), (96, 120)])
def test_satellite_classes_are_many_and_unbalanced_objects_small(
    size: int, pictures: int
) -> None:
    scenes = [made('satellite', seed, size) for seed in range(pictures)]
    objects = [item for s in scenes for item in s.objects]
    counts = Counter(item.name for item in objects)
    assert set(counts) <= DOTA_CLASSES
    assert len(counts) >= 8
    assert counts['small-vehicle'] > 10 * counts['helicopter'] > 0
    sides = np.array([(b[2] - b[0], b[3] - b[1]) for b in (o.box for o in objects)])
    assert (np.sqrt(sides.prod(axis=1)) < 32).mean() > 0.75
    numbers = [len(s.objects) for s in scenes]
    assert min(numbers) >= MIN_OBJECTS
    assert max(numbers) > 2.5 * np.median(numbers), 'some are crowded'
    headings = [np.arctan2(*(o.corners[1] - o.corners[0])[::-1]) for o in objects]
    assert np.histogram(headings, 8, (-np.pi, np.pi))[0].min() > 0


def test_crowds_are_thinned_before_they_are_drawn(monkeypatch) -> None:
    """Nothing is in a picture that looks like an object and is not annotated."""
    drawn = []

    def recording(canvas, rng, placed):
        drawn[:] = [thing for thing in placed if thing.name]
        return compose(canvas, rng, placed)

    monkeypatch.setattr(satellite, 'MAX_OBJECTS', 8)
    monkeypatch.setattr(satellite, 'compose', recording)
    for seed in range(6):
        found = made.__wrapped__('satellite', seed)
        assert MIN_OBJECTS <= len(found.objects) <= len(drawn) <= 8


@pytest.mark.parametrize('size', [120, 200])
def test_harbours_hold_ships_of_all_sizes(size: int) -> None:
    objects = [o for seed in range(40) for o in made('harbour', seed, size).objects]
    assert {o.name for o in objects} == {'ship'}
    lengths = [np.linalg.norm(o.corners[1] - o.corners[0]) for o in objects]
    widths = [np.linalg.norm(o.corners[3] - o.corners[0]) for o in objects]
    assert np.percentile(lengths, 10) < 25
    assert np.percentile(lengths, 90) > 50
    assert np.median(np.divide(lengths, widths)) > 2.5
    assert any(o.truncation > 0 for o in objects)


@pytest.mark.parametrize(
    'model',
    [
        *(craft.cargo_ship, craft.warship, craft.ferry, craft.boat),
        *(craft.carrier, craft.plane, craft.helicopter, yards.lorry),
        lambda rng: enlarged(craft.boat(rng), 0.6),
        *(
            sites.tennis_court,
            sites.basketball_court,
            sites.swimming_pool,
        ),
        *(sites.soccer_field, sites.ground_track_field),
        functools.partial(yards.storage_tank, radius=9),
    ],
)
@pytest.mark.parametrize('heading', [0.0, 0.7, 2.5])
def test_oriented_boxes_fit_what_is_drawn(model, heading: float) -> None:
    """Along its own axes an object reaches as far as its rectangle."""
    rng = np.random.default_rng(5)
    blocks = model(rng)
    long = np.ptp([x for block in blocks for x in block.x])
    camera = Camera(pixels_per_metre=240 / long, tilt=0, sun=np.zeros(2))
    canvas = Canvas(400, camera)
    centre = np.full(2, 200.0)
    (found,) = compose(canvas, rng, [Thing(blocks, centre, heading, 'ship')])
    rows, columns = np.nonzero(canvas.owners == 1)
    pixels = np.stack([columns, rows], axis=1).astype(np.float32)
    expected = found.corners.astype(np.float32) * scene.OVERSAMPLING
    # Along the object's own axes: the extent of its pixels against the rectangle.
    along = expected[1] - expected[0]
    axes = np.stack([along, [-along[1], along[0]]]) / np.linalg.norm(along)
    low, high = (pixels @ axes.T).min(0), (pixels @ axes.T).max(0)
    corners = expected @ axes.T
    assert low == pytest.approx(corners.min(0), abs=3)
    assert high == pytest.approx(corners.max(0), abs=3)
    assert cv2.contourArea(expected) > 500


def test_a_bow_points_forward() -> None:
    outline = craft.hull(40, 8, 0.3)
    front, back = outline[outline[:, 0] > 18], outline[outline[:, 0] < -18]
    assert np.abs(front[:, 1]).max() < 1 < np.abs(back[:, 1]).min()
    assert cv2.isContourConvex(np.round(outline * 100).astype(np.int32))
