import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerialkd.datasets import DOTADataset, dota_tiles
from aerialkd.datasets.dota_tiles import PADDING, split_dota, verify_tiles
from aerialkd.datasets.images import read_image_size
from aerialkd.datasets.tiles.objects import place_objects, whole_somewhere
from aerialkd.datasets.tiles.windows import (
    Window,
    scene_windows,
    tile_name,
    tile_origin,
    window_starts,
)
from aerialkd.errors import AnnotationError, ConfigError
from tests.dota_scenes import line, read_boxes, rectangle, write_scenes

SIZES = dict(sizes=(40,), gaps=(10,), progress=False)
SIZE = (40, 40)


@pytest.mark.parametrize(
    ('length', 'size', 'gap', 'starts'),
    [
        (600, 600, 150, [0]),
        (601, 600, 150, [0, 1]),
        (1050, 600, 150, [0, 450]),
        (1051, 600, 150, [0, 450, 451]),
        (4000, 600, 150, [*range(0, 3400, 450), 3400]),
        (4000, 1024, 200, [0, 824, 1648, 2472, 2976]),
        (1, 600, 150, [0]),
        (100, 50, 0, [0, 50]),
    ],
)
def test_windows_of_one_side(length, size, gap, starts):
    assert window_starts(length, size, gap) == starts


@given(st.data())
def test_windows_cover_the_scene_and_overlap_by_the_gap(data):
    size = data.draw(st.integers(32, 700))
    gap = data.draw(st.integers(0, size - 1))
    length = data.draw(st.integers(1, size + 30 * (size - gap)))
    starts = window_starts(length, size, gap)
    assert starts[0] == 0
    assert starts[-1] == max(length - size, 0)
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps[:-1] == size - gap).all()
    assert (steps <= size - gap).all()


def test_windows_of_several_sizes_row_by_row():
    windows = scene_windows((70, 40), (40, 64), (10, 20))
    assert windows == [
        Window(0, 0, 40),
        Window(30, 0, 40),
        Window(0, 0, 64),
        Window(6, 0, 64),
    ]


@pytest.mark.parametrize(
    ('name', 'origin'),
    [
        ('P0019__600__450___900', ('P0019', 450, 900)),
        ('P0019__1__768___0', ('P0019', 768, 0)),
        ('P0019__1.0__768___0', ('P0019', 768, 0)),
        ('a__b__600__1___2', ('a__b', 1, 2)),
        ('P1__1__768___0__600__450___900', ('P1__1__768___0', 450, 900)),
        ('a___600__1___2', ('a_', 1, 2)),
        ('a b__7__600__1___2', ('a b__7', 1, 2)),
    ],
)
def test_origin_of_a_tile(name, origin):
    assert tile_origin(name) == origin


@given(st.text('ab_1 .', min_size=1), st.tuples(*[st.integers(0, 30000)] * 2))
def test_names_are_read_back(scene, origin):
    assert tile_origin(tile_name(scene, Window(*origin, 600))) == (scene, *origin)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('P0019', 'not the name of a tile'),
        ('P0019__600__450__900', 'not the name of a tile'),
        ('__600__450___900', 'not the name of a tile'),
        ('P0019__600__-1___900', 'not the name of a tile'),
        ('P0019__0.5__450___900', 'resized scene: got scale 0.5'),
        ('P0019__2__450___900', 'resized scene: got scale 2'),
    ],
)
def test_name_without_origin_is_an_error(name, message):
    with pytest.raises(AnnotationError, match=message):
        tile_origin(name)


# A ship of 20x10 pixels along x; the tiles of a row of 70 pixels are 0..40 and 30..70.
@pytest.mark.parametrize(
    ('centre', 'tiles'),
    [
        (30.0, {0: [20, 40]}),  # ends at the border of tile 0; 10 of 20 in tile 1
        (36.0, {0: [26, 40], 30: [0, 16]}),  # 14 of 20 in tile 0, 16 in tile 1
        (36.1, {30: [0, 16.1]}),  # 13.9 of 20 are less than 0.7
        (33.9, {0: [23.9, 40]}),
        (34.0, {0: [24, 40], 30: [0, 14]}),
        (40.0, {30: [0, 20]}),  # begins at the border of tile 1
    ],
)
def test_seven_tenths_of_an_object_belong_to_a_tile(tmp_path, centre, tiles):
    source = write_scenes(
        tmp_path / 'in', {'a': [line(rectangle(centre, 20, 20, 10))]}, size=(70, 40)
    )
    split_dota(source, tmp_path / 'out', **SIZES)
    for x in (0, 30):
        boxes = read_boxes(tmp_path / 'out', f'a__40__{x}___0', SIZE)
        expected = []
        if x in tiles:
            left, right = tiles[x]
            expected = [(left, 15, right, 15, right, 25, left, 25)]
        assert [box.corners for box in boxes] == expected


def placed_in_first(corners, clip=True, scene=(70, 40), windows=None):
    windows = windows or scene_windows(scene, (40,), (10,))
    return place_objects(np.atleast_2d(corners), windows, scene, clip)


def directions(corners):
    """Unit vectors of the first and the second side."""
    points = np.reshape(corners, (4, 2))
    sides = points[1:3] - points[:2]
    return sides / np.linalg.norm(sides, axis=1, keepdims=True)


@pytest.mark.parametrize('first', range(4))
@pytest.mark.parametrize('clockwise', [True, False])
@pytest.mark.parametrize('degrees', [0, 20, 45, 100, 200, 359])
def test_cut_object_keeps_its_direction(degrees, first, clockwise):
    corners = rectangle(36, 20, 24, 8, degrees).reshape(4, 2)
    ordered = np.roll(corners if clockwise else corners[::-1], first, axis=0).ravel()
    placed = placed_in_first(ordered)
    cut = placed.corners[(placed.tiles == 0) & ~placed.whole]
    assert len(cut) == 1
    np.testing.assert_allclose(directions(cut[0]), directions(ordered), atol=1e-9)


def test_cut_object_lies_along_itself_around_its_visible_part():
    """A square on its tip, 4 of whose 20 pixels from tip to tip are beyond x = 40."""
    side = 20 / np.sqrt(2)
    corners = rectangle(34, 20, side, side, 45)
    placed = placed_in_first(corners)
    assert placed.shares[0] == pytest.approx(1 - 4 * 4 / 200)
    # Along both diagonals the visible tips at (40, 16) and (40, 24) reach as far as
    # the upper and the lower corner less 4 pixels: the rectangle is the whole square.
    np.testing.assert_allclose(np.sort(placed.corners[0]), np.sort(corners), atol=1e-9)


def test_cut_rectangle_becomes_shorter_along_its_length():
    corners = rectangle(30, 20, 36, 4, 30)
    placed = placed_in_first(corners)
    cut = placed.corners[0].reshape(4, 2)
    lengths = np.linalg.norm(cut[1:3] - cut[:2], axis=1)
    assert lengths[0] < 36 - 1
    assert lengths[1] == pytest.approx(4)
    # The end inside the tile stays where it was.
    whole = corners.reshape(4, 2)
    np.testing.assert_allclose(cut[[0, 3]], whole[[0, 3]], atol=1e-9)
    # The other end is at the farthest visible point, which is on the border.
    np.testing.assert_allclose(cut[[1, 2], 0], (40 + 4 * np.sin(np.pi / 6), 40))


def test_cut_quadrilateral_that_is_no_rectangle_keeps_the_learned_angle():
    """What is learned of an object is the smallest rectangle around it."""
    corners = np.array((10, 10, 44, 12, 45, 20, 9, 21), np.float64)
    placed = placed_in_first(corners)
    angle = cv2.minAreaRect(corners.reshape(4, 2).astype(np.float32))[2]
    expected = np.radians((angle + 45) % 90 - 45)
    along = directions(placed.corners[0])[0]
    assert np.arctan2(along[1], along[0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(('tip', 'kept'), [(44, True), (50, False)])
def test_cut_that_makes_the_rectangle_no_smaller_keeps_the_corners(tip, kept):
    """A trapezoid turned by 45 degrees; its second corner lies beyond x = 40.

    The first and the third corner reach as far along both axes while they are visible.
    """
    u, v = np.array([(0, 0), (24, 0), (24, 12), (3, 11)]).T / np.sqrt(2)
    points = np.stack([u - v, u + v], 1)  # the second corner is the rightmost one
    points += (tip - points[1, 0], 5)
    placed = placed_in_first(points.ravel(), scene=(99, 99), windows=[Window(0, 0, 40)])
    assert not placed.whole[0]
    assert (placed.corners[0] == points.ravel()).all() == kept


def test_corners_that_cross_are_taken_as_their_hull():
    a, b, c, d = rectangle(34, 20, 20, 10).reshape(4, 2)
    placed = placed_in_first(np.concatenate([a, c, b, d]))
    assert placed.shares[0] == pytest.approx(16 / 20)
    cut = placed.corners[0].reshape(4, 2)
    assert sorted(map(tuple, cut.round(6) + 0.0)) == [
        (24, 15),
        (24, 25),
        (40, 15),
        (40, 25),
    ]


def test_objects_over_the_border_of_the_scene_are_not_cut_by_it():
    corners = np.stack([rectangle(0, 20, 20, 10), rectangle(69, 20, 20, 10)])
    placed = placed_in_first(corners)
    assert placed.tiles.tolist() == [0, 1]
    assert placed.whole.all()
    np.testing.assert_array_equal(placed.corners[0], corners[0])
    np.testing.assert_array_equal(placed.corners[1], corners[1] - np.tile((30, 0), 4))


def test_less_than_a_pixel_of_an_object_is_nothing():
    placed = placed_in_first(rectangle(49.95, 20, 20, 10))  # 0.05 x 10 pixels
    assert placed.tiles.tolist() == [1]
    placed = placed_in_first(rectangle(49.85, 20, 20, 10))  # 0.15 x 10 pixels
    assert placed.tiles.tolist() == [0, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_placement_agrees_with_counting_pixels(seed):
    """Shares by sampling points of the object; whole where no corner is outside."""
    rng = np.random.default_rng(seed)
    width, height, degrees = rng.uniform(3, 60), rng.uniform(3, 30), rng.uniform(0, 360)
    x, y = rng.uniform(35, 65, 2)
    windows = [Window(20, 20, 40), Window(40, 20, 40), Window(35, 35, 32)]
    corners = rectangle(x, y, width, height, degrees)
    placed = placed_in_first(corners, scene=(200, 200), windows=windows)
    u, v = np.meshgrid(*[(np.arange(200) + 0.5) / 200 - 0.5] * 2)
    a, b, _, d = corners.reshape(4, 2)
    points = (x, y) + u[..., None] * (b - a) + v[..., None] * (d - a)
    shares = dict(zip(placed.tiles, placed.shares, strict=True))
    for i, window in enumerate(windows):
        low = np.array((window.x, window.y))
        inside = ((points >= low) & (points <= low + window.size)).all(-1).mean()
        small = inside * width * height < 2
        assert shares.get(i, 0) == pytest.approx(inside, abs=0.02) or small
    whole = whole_somewhere(corners[None], windows, (200, 200))
    assert whole[0] == placed.whole.any()


def test_cut_objects_may_keep_their_corners(tmp_path):
    source = write_scenes(
        tmp_path / 'in', {'a': [line(rectangle(34, 20, 20, 10))]}, size=(70, 40)
    )
    split_dota(source, tmp_path / 'out', cut='whole', **SIZES)
    (box,) = read_boxes(tmp_path / 'out', 'a__40__30___0', SIZE)
    assert box.corners == (-6, 15, 14, 15, 14, 25, -6, 25)


def test_a_tile_holds_what_two_objects_show_of_themselves_once(tmp_path):
    """Both cover a tile in the middle: the same rectangle, which readers refuse."""
    fields = [line(rectangle(50, 40, side, 70), 'harbor') for side in (74, 80)]
    source = write_scenes(tmp_path / 'in', {'P1': fields})
    counts = split_dota(source, tmp_path / 'tiles', kept_share=0.1, **SIZES)
    assert counts.objects.total() == 2
    assert len(read_boxes(tmp_path / 'tiles', 'P1__40__30___30', (40, 40))) == 1
    assert verify_tiles(source, tmp_path / 'tiles', progress=False) == counts


def test_small_parts_are_dropped_or_difficult(tmp_path):
    scene = {'a': [line(rectangle(30, 20, 20, 10), 'plane')]}
    source = write_scenes(tmp_path / 'in', scene, size=(70, 40))
    counts = split_dota(source, tmp_path / 'drop', **SIZES)
    assert read_boxes(tmp_path / 'drop', 'a__40__30___0', SIZE) == []
    assert (counts.boxes['plane'], counts.small_parts['plane']) == (1, 1)
    counts = split_dota(
        source, tmp_path / 'difficult', small_parts='difficult', **SIZES
    )
    (box,) = read_boxes(tmp_path / 'difficult', 'a__40__30___0', SIZE)
    assert (box.corners, box.difficult) == ((0, 15, 10, 15, 10, 25, 0, 25), 2)
    assert (counts.boxes['plane'], counts.small_parts['plane']) == (2, 1)
    (box,) = read_boxes(tmp_path / 'difficult', 'a__40__0___0', SIZE)
    assert box.difficult == 0


SCENES = {
    'P1': [
        'imagesource:GoogleEarth',
        'gsd:0.25',
        line(rectangle(20, 20, 10, 5, 33), 'ship', 1),
        line(rectangle(35, 30, 9, 4, 80), 'plane'),
        line(rectangle(50, 40, 90, 60), 'harbor'),
    ],
    'P__2': [],
}


@pytest.fixture
def source(tmp_path) -> Path:
    return write_scenes(tmp_path / 'in', SCENES)


def test_tiles_are_cut_outs(source, tmp_path):
    out = tmp_path / 'out'
    counts = split_dota(source, out, **SIZES)
    assert (counts.scenes, counts.tiles) == (2, 2 * 3 * 3)
    scene = cv2.imread(str(source / 'images/P1.png'))
    for x in (0, 30, 60):
        for y in (0, 30, 40):
            tile = cv2.imread(str(out / f'images/P1__40__{x}___{y}.png'))
            np.testing.assert_array_equal(tile, scene[y : y + 40, x : x + 40])


def test_scene_smaller_than_a_tile_is_padded(source, tmp_path):
    out = tmp_path / 'out'
    split_dota(source, out, sizes=(128,), gaps=(20,), progress=False)
    scene = np.asarray(Image.open(source / 'images/P1.png'))
    tile = np.asarray(Image.open(out / 'images/P1__128__0___0.png'))
    np.testing.assert_array_equal(tile[:80, :100], scene)
    assert (tile[80:] == PADDING).all()
    assert (tile[:, 100:] == PADDING).all()
    before = read_boxes(source, 'P1', (100, 80))
    after = read_boxes(out, 'P1__128__0___0', (128, 128))
    assert [b.name for b in after] == [b.name for b in before]
    for old, new in zip(before, after, strict=True):
        assert new.corners == pytest.approx(old.corners, abs=1e-4)


def test_counts(source, tmp_path):
    counts = split_dota(source, tmp_path / 'out', **SIZES)
    assert counts.objects == {'ship': 1, 'plane': 1, 'harbor': 1}
    assert counts.whole == {'ship': 1, 'plane': 1}
    assert counts.lost == {'harbor': 1}
    files = [p.read_text() for p in (tmp_path / 'out/labelTxt').iterdir()]
    assert counts.boxes.total() == sum(map(str.count, files, ['\n'] * len(files)))
    assert counts.empty_tiles == files.count('')
    text = '\n'.join(counts.lines())
    assert 'P1: in no tile: harbor of 90x60 pixels at 50,40' in text
    assert '2 scenes, 18 tiles' in text
    assert text.count('\nship') == 1


def test_an_object_counts_once_as_whole_cut_or_lost(tmp_path):
    boxes = {
        'ship': rectangle(34, 20, 20, 10),  # 16 and 14 of 20: cut
        'plane': rectangle(30, 20, 20, 10),  # whole, and half of it
        'harbor': rectangle(35, 20, 58, 10),  # 34 of 58 in both: lost
    }
    lines = [line(corners, name) for name, corners in boxes.items()]
    source = write_scenes(tmp_path / 'in', {'a': lines}, size=(70, 40))
    counts = split_dota(source, tmp_path / 'out', **SIZES)
    assert counts.cut == {'ship': 1}
    assert counts.whole == {'plane': 1}
    assert counts.lost == {'harbor': 1}
    assert counts.boxes == {'ship': 2, 'plane': 1}
    assert counts.small_parts == {'plane': 1, 'harbor': 2}


def test_empty_tiles_stay_unless_they_are_dropped(source, tmp_path):
    kept = split_dota(source, tmp_path / 'keep', **SIZES)
    dropped = split_dota(source, tmp_path / 'drop', empty_tiles='drop', **SIZES)
    assert kept.empty_tiles == dropped.empty_tiles > 9
    assert dropped.tiles == kept.tiles - kept.empty_tiles
    assert len(list((tmp_path / 'drop/images').iterdir())) == dropped.tiles
    assert len(list((tmp_path / 'drop/labelTxt').iterdir())) == dropped.tiles


def test_jpeg_tiles_and_scenes_of_any_kind(tmp_path):
    source = write_scenes(tmp_path / 'in', SCENES, suffix='.tif')
    grey = Image.fromarray(np.full((30, 30), 77, np.uint8))
    grey.save(source / 'images/grey.bmp')
    (source / 'labelTxt/grey.txt').touch()
    split_dota(source, tmp_path / 'out', image_format='jpg', **SIZES)
    assert read_image_size(tmp_path / 'out/images/P1__40__30___30.jpg') == (40, 40)
    tile = cv2.imread(str(tmp_path / 'out/images/grey__40__0___0.jpg'))
    assert np.abs(tile[:24, :24].astype(int) - 77).max() < 6


def test_tiles_are_a_data_set(source, tmp_path):
    split_dota(source, tmp_path / 'out', **SIZES)
    dataset = DOTADataset(data_root=str(tmp_path / 'out'), pipeline=[], test_mode=True)
    assert len(dataset) == 18


def test_images_without_labels(source, tmp_path):
    for file in (source / 'labelTxt').iterdir():
        file.unlink()
    (source / 'labelTxt').rmdir()
    with pytest.raises(ConfigError, match=r'labelTxt: no such folder.*--no-labels'):
        split_dota(source, tmp_path / 'out', **SIZES)
    counts = split_dota(source, tmp_path / 'out', labels=None, **SIZES)
    assert counts.tiles == counts.empty_tiles == 18
    assert not (tmp_path / 'out/labelTxt').exists()
    assert verify_tiles(source, tmp_path / 'out', progress=False) == counts


def test_labels_of_another_name(source, tmp_path):
    (source / 'labelTxt').rename(source / 'labelTxt-v1.5')
    counts = split_dota(
        source, tmp_path / 'out', labels='labelTxt-v1.5', version='1.5', **SIZES
    )
    assert counts.objects.total() == 3
    assert (tmp_path / 'out/labelTxt/P1__40__0___0.txt').is_file()


class Killed(BaseException):
    """What no program catches."""


def kill_after(monkeypatch, files: int) -> None:
    """Let the writing of tiles end in the middle of a file."""
    written = []
    whole = dota_tiles.write_whole

    def write(path, content, durable):
        if len(written) == files:
            path.with_name(f'.{path.name}.part').write_bytes(content[:9])
            raise Killed
        written.append(path)
        whole(path, content, durable)

    monkeypatch.setattr(dota_tiles, 'write_whole', write)


@pytest.mark.parametrize('files', [0, 1, 2, 7, 19, 35])
def test_interrupted_split_goes_on(source, tmp_path, monkeypatch, files):
    out, other = tmp_path / 'out', tmp_path / 'other'
    with monkeypatch.context() as patch:
        kill_after(patch, files)
        with pytest.raises(Killed):
            split_dota(source, out, **SIZES)
    assert json.loads((out / 'tiles.json').read_text())['complete'] is False
    with pytest.raises(ConfigError, match='got no finished tiles'):
        verify_tiles(source, out, progress=False)
    before = {p: p.stat().st_mtime_ns for p in out.glob('labelTxt/*.txt')}
    assert len(before) == files // 2
    counts = split_dota(source, out, **SIZES)
    assert counts == split_dota(source, other, **SIZES)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    for file in other.rglob('*.*'):
        if file.is_file():
            assert (out / file.relative_to(other)).read_bytes() == file.read_bytes()
    assert {p.name for p in out.rglob('*')} == {p.name for p in other.rglob('*')}


def test_finished_tiles_are_not_written_again(source, tmp_path, monkeypatch):
    counts = split_dota(source, tmp_path / 'out', **SIZES)
    kill_after(monkeypatch, 0)
    assert split_dota(source, tmp_path / 'out', **SIZES) == counts
    assert verify_tiles(source, tmp_path / 'out', progress=False) == counts


def delete(file):
    file.unlink()


def truncate(file):
    file.write_bytes(file.read_bytes()[:-300])


def shrink(file):
    Image.open(file).crop((0, 0, 39, 40)).save(file)


def copy_tile(file):
    (file.parent / 'P1__40__7___7.png').write_bytes(file.read_bytes())


def take_line(file):
    file.write_text(''.join(file.read_text().splitlines(keepends=True)[1:]))


def spoil_line(file):
    file.write_text(file.read_text().replace('ship', 'boat'))


@pytest.mark.parametrize(
    ('file', 'damage', 'message'),
    [
        ('images/P1__40__0___0.png', delete, r'0___0\.png: not a readable image'),
        ('images/P1__40__0___0.png', truncate, r'0___0\.png: truncated image'),
        ('images/P1__40__0___0.png', shrink, r'got 39x40 pixels, expected 40x40'),
        ('images/P1__40__0___0.png', copy_tile, r'too many: P1__40__7___7;'),
        ('labelTxt/P1__40__0___0.txt', delete, r'0___0\.txt: no readable text'),
        ('labelTxt/P1__40__0___0.txt', take_line, r'0___0\.txt: other objects: got 1'),
        ('labelTxt/P1__40__0___0.txt', spoil_line, r'0___0\.txt:1: unknown class'),
    ],
)
def test_verification_finds_damage(source, tmp_path, file, damage, message):
    out = tmp_path / 'out'
    split_dota(source, out, **SIZES)
    damage(out / file)
    with pytest.raises(AnnotationError, match=message):
        verify_tiles(source, out, progress=False)


def test_verification_does_not_trust_the_plan(source, tmp_path, monkeypatch):
    """Objects forgotten by the plan are missed when the tiles are read back."""
    from aerialkd.datasets.tiles import plan

    place = plan.place_objects

    def forgetful(corners, *args, **kwargs):
        return place(np.concatenate([corners[1:], corners[1:2]]), *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(plan, 'place_objects', forgetful)
        with pytest.raises(AnnotationError, match='1 uncut objects in no tile'):
            split_dota(source, tmp_path / 'out', **SIZES)
    assert not json.loads((tmp_path / 'out/tiles.json').read_text())['complete']


@pytest.mark.parametrize('missing', ['images/P1__40__0___0.png', 'labelTxt'])
def test_deleted_tiles_are_made_again(source, tmp_path, missing):
    out = tmp_path / 'out'
    counts = split_dota(source, out, **SIZES)
    for file in [*(out / missing).glob('*'), out / missing]:
        if file.is_file():
            file.unlink()
    assert split_dota(source, out, **SIZES) == counts


@pytest.mark.parametrize(
    'other',
    [
        dict(sizes=(40, 64), gaps=(10, 10)),
        dict(gaps=(20,)),
        dict(kept_share=0.5),
        dict(cut='whole'),
        dict(small_parts='difficult'),
        dict(empty_tiles='drop'),
        dict(image_format='jpg'),
        dict(version='1.5'),
        dict(labels=None),
    ],
)
def test_tiles_of_other_settings_are_refused(source, tmp_path, other):
    split_dota(source, tmp_path / 'out', **SIZES)
    with pytest.raises(ConfigError, match=r'out: got images of .*rm -r') as error:
        split_dota(source, tmp_path / 'out', **{**SIZES, **other})
    assert all(f"'{key}'" in str(error.value) for key in other)


def test_tiles_of_other_scenes_are_refused(source, tmp_path):
    split_dota(source, tmp_path / 'out', **SIZES)
    label = source / 'labelTxt/P1.txt'
    label.write_text(label.read_text().replace('plane', 'harbor'))
    with pytest.raises(ConfigError, match=r"got images of {'fingerprint'"):
        split_dota(source, tmp_path / 'out', **SIZES)
    with pytest.raises(ConfigError, match=r"got images of {'fingerprint'"):
        verify_tiles(source, tmp_path / 'out', progress=False)


def test_folder_with_something_else_is_refused(source, tmp_path):
    with pytest.raises(ConfigError, match='something that was not made here'):
        split_dota(source, source, **SIZES)
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='something that was not made here'):
        split_dota(source, tmp_path / 'file', **SIZES)
    (tmp_path / 'out').mkdir()
    for text in ('', '[]', '{}', '{"complete": 1}'):
        (tmp_path / 'out/tiles.json').write_text(text)
        with pytest.raises(ConfigError, match=r'tiles\.json: not a manifest'):
            split_dota(source, tmp_path / 'out', **SIZES)


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (dict(sizes=(40, 50)), 'expected one gap for each size'),
        (dict(sizes=(), gaps=()), 'expected one gap for each size'),
        (dict(sizes=(40, 40), gaps=(0, 10)), 'expected each once'),
        (dict(sizes=(31,)), 'sizes: got 31, expected at least 32'),
        (dict(gaps=(40,)), 'gaps: got 40 for size 40, expected 0 to 39'),
        (dict(gaps=(-1,)), 'gaps: got -1'),
        (dict(kept_share=0), 'kept_share: got 0, expected above 0'),
        (dict(kept_share=float('nan')), 'kept_share: got nan'),
        (dict(version='3.0'), "version: got '3.0', expected 1.0 or 1.5 or 2.0"),
        (dict(cut='none'), "cut: got 'none', expected clip or whole"),
        (dict(labels=None, empty_tiles='drop'), 'got drop without labels'),
    ],
)
def test_settings_that_do_not_fit(source, tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        split_dota(source, tmp_path / 'out', **{**SIZES, **setting})
    assert not (tmp_path / 'out').exists()


def test_bad_annotations_are_errors_or_left_out(source, tmp_path):
    label = source / 'labelTxt/P1.txt'
    label.write_text(label.read_text() + '1 2 3 ship 0\n')
    with pytest.raises(AnnotationError, match=r'P1\.txt:6: wrong number of fields'):
        split_dota(source, tmp_path / 'error', **SIZES)
    counts = split_dota(source, tmp_path / 'skip', bad_annotations='skip', **SIZES)
    assert len(counts.bad_lines) == 1
    assert counts.objects.total() == 3
    assert counts.lines()[-2] == '1 annotations left out:'
    assert 'P1.txt:6' in counts.lines()[-1]


def test_source_that_cannot_be_split(source, tmp_path):
    (source / 'images/P3.png').write_bytes(
        (source / 'images/P1.png').read_bytes()[:-99]
    )
    with pytest.raises(AnnotationError, match=r'P3\.txt: no such file, expected the'):
        split_dota(source, tmp_path / 'out', **SIZES)
    (source / 'labelTxt/P3.txt').touch()
    with pytest.raises(AnnotationError, match=r'P3\.png: truncated image'):
        split_dota(source, tmp_path / 'out', **SIZES)
    Image.fromarray(np.zeros((50, 50), np.uint16)).save(source / 'images/P3.png')
    with pytest.raises(AnnotationError, match=r'P3\.png: more than 8 bits a channel'):
        split_dota(source, tmp_path / 'new', **SIZES)
    for image in (source / 'images').iterdir():
        image.unlink()
    with pytest.raises(ConfigError, match='got no image'):
        split_dota(source, tmp_path / 'none', **SIZES)


def test_scenes_may_be_large(source, tmp_path, monkeypatch):
    """Pillow warns above 89 megapixels, here 7000 pixels, and refuses twice as many."""
    for limit in (7000, 3000):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        split_dota(source, tmp_path / f'{limit}', **SIZES)
        assert limit == Image.MAX_IMAGE_PIXELS
