import functools

import numpy as np
import pytest

from aerialkd.datasets.made.canvas import Camera, Canvas
from aerialkd.datasets.made.models import MODELS_OF_CLASSES
from aerialkd.datasets.made.scene import MIN_VISIBLE, Scene, _annotate, render_scene
from aerialkd.datasets.made.things import Thing, building
from aerialkd.datasets.visdrone_format import CLASSES

SIZE = 128


@functools.lru_cache
def scene(seed: int) -> Scene:
    return render_scene(np.random.default_rng(seed), SIZE)


def empty_canvas(tilt: float = 0.4) -> Canvas:
    camera = Camera(pixels_per_metre=10, tilt=tilt, sun=np.array([0.5, 0.3]))
    return Canvas(2 * SIZE, camera)


def draw(canvas: Canvas, *placed: Thing) -> list:
    areas = []
    for owner, thing in enumerate(placed, start=1):
        thing.draw(canvas, owner)
        areas.append(int((canvas.owners == owner).sum()))
    return _annotate(canvas, list(placed), areas)


def test_every_class_has_a_model() -> None:
    assert set(MODELS_OF_CLASSES) == set(CLASSES)


def test_equal_seeds_make_equal_scenes() -> None:
    first, other = scene(3), scene(4)
    again = scene.__wrapped__(3)
    assert (first.image == again.image).all()
    assert [o.box for o in first.objects] == [o.box for o in again.objects]
    assert first.ignored == again.ignored
    assert (first.image != other.image).any()


def test_scenes_are_as_promised() -> None:
    scenes = [scene(seed) for seed in range(12)]
    objects = [item for s in scenes for item in s.objects]
    for s in scenes:
        assert s.image.shape == (SIZE, SIZE, 3)
        assert s.image.dtype == np.uint8
        assert s.image.std() > 10, 'not a plain colour'
        for x1, y1, x2, y2 in [*(o.box for o in s.objects), *s.ignored]:
            assert 0 <= x1 < x2 <= SIZE
            assert 0 <= y1 < y2 <= SIZE
    sides = np.array([(o.box[2] - o.box[0], o.box[3] - o.box[1]) for o in objects])
    assert sides.min() >= 3
    assert (np.sqrt(sides.prod(axis=1)) < 32).mean() > 0.8
    assert 5 <= np.mean([len(s.objects) for s in scenes]) <= 60
    assert {o.name for o in objects} <= set(CLASSES)
    assert any(s.ignored for s in scenes)
    assert any(o.occlusion > 0.05 for o in objects)
    assert any(o.truncation > 0 for o in objects)


def test_nothing_annotated_lies_in_an_ignored_region() -> None:
    for s in map(scene, range(12)):
        for x1, y1, x2, y2 in s.ignored:
            mask = np.zeros((SIZE, SIZE))
            mask[y1:y2, x1:x2] = 1
            for o in s.objects:
                assert mask[o.box[1] : o.box[3], o.box[0] : o.box[2]].mean() < 0.5


@pytest.mark.parametrize('name', CLASSES)
@pytest.mark.parametrize('tilt', [0.0, 0.5])
def test_boxes_fit_what_is_drawn(name: str, tilt: float) -> None:
    rng = np.random.default_rng(0)
    for heading in rng.uniform(0, 2 * np.pi, 5):
        canvas = empty_canvas(tilt)
        thing = Thing(
            MODELS_OF_CLASSES[name](rng), rng.uniform(80, 170, 2), heading, name
        )
        (item,) = draw(canvas, thing)
        rows, columns = np.nonzero(canvas.owners)
        drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(np.array(item.box) - drawn / 2).max() <= 1
        assert item.occlusion == item.truncation == 0


def test_corners_follow_the_heading() -> None:
    rng = np.random.default_rng(0)
    thing = Thing(
        MODELS_OF_CLASSES['bus'](rng), np.array([128.0, 128.0]), np.pi / 2, 'bus'
    )
    (item,) = draw(empty_canvas(tilt=0.0), thing)
    front = item.corners[1:3].mean(axis=0) - item.corners.mean(axis=0)
    length, width = np.linalg.norm(np.diff(item.corners[:3], axis=0), axis=1)
    assert abs(front[0]) < 1e-6
    assert front[1] == pytest.approx(length / 2)
    assert length > 3 * width
    x1, y1, x2, y2 = item.box
    assert (x2 - x1, y2 - y1) == pytest.approx((width, length), abs=2)


def test_what_hides_an_object_counts() -> None:
    rng = np.random.default_rng(0)
    make = MODELS_OF_CLASSES['car']
    for distance, hidden in ((0.0, True), (500.0, False)):
        canvas = empty_canvas()
        car = Thing(make(rng), np.array([100.0, 100.0]), 0.0, 'car')
        house = building(rng, np.array([100.0, 100.0 + distance]), 0.0)
        objects = draw(canvas, car, house)
        assert (objects == []) is hidden


def test_partly_hidden_and_cut_objects() -> None:
    rng = np.random.default_rng(0)
    make = MODELS_OF_CLASSES['bus']
    canvas = empty_canvas(tilt=0.0)
    bus = Thing(make(rng), np.array([120.0, 120.0]), 0.0, 'bus')
    other = Thing(make(rng), np.array([170.0, 120.0]), np.pi / 2, 'bus')
    half_out = Thing(make(rng), np.array([0.0, 220.0]), 0.0, 'bus')
    items = draw(canvas, bus, other, half_out)
    assert MIN_VISIBLE < 1 - items[0].occlusion < 0.9
    assert items[1].occlusion == 0
    assert items[2].truncation == pytest.approx(0.5, abs=0.05)
    assert items[2].box[0] == 0


def test_shadows_darken_but_do_not_belong() -> None:
    canvas = empty_canvas()
    canvas.colours[:] = 100
    car = Thing(
        MODELS_OF_CLASSES['car'](np.random.default_rng(0)),
        np.array([128.0, 128.0]),
        0.3,
        'car',
    )
    car.cast_shadow(canvas)
    canvas.darken(0.5)
    assert canvas.colours.min() == pytest.approx(50, abs=1)
    assert canvas.colours[0, 0, 0] == 100
    assert not canvas.owners.any()
