from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import nms_rotated
from PIL import Image

from aerialkd.datasets.dota_format import CLASSES
from aerialkd.datasets.dota_tiles import split_dota
from aerialkd.datasets.images import IMAGE_SUFFIXES, find_files, read_image_size
from aerialkd.errors import AnnotationError, ConfigError
from aerialkd.evaluation.task1 import SceneDetections
from aerialkd.evaluation.tile_merging import merge_tiles, polygon_nms, tile_origin
from tests.dota_scenes import as_detections, line, rectangle, write_scenes


def tile(name, boxes, labels=None, scores=None):
    boxes = np.reshape(boxes, (-1, 8)).astype(np.float64)
    labels = np.zeros(len(boxes)) if labels is None else labels
    scores = np.full(len(boxes), 0.5) if scores is None else scores
    return SceneDetections(name, boxes, np.array(labels, np.int64), np.array(scores))


def test_copies_of_an_object_become_one():
    box = rectangle(500, 300, 40, 10, 30)
    tiles = [
        tile('P1__600__0___0', box, scores=[0.8]),
        tile('P1__600__450___0', box - np.tile((450, 0), 4), scores=[0.9]),
        tile('P1__1024__100___200', box - np.tile((100, 200), 4), scores=[0.7]),
    ]
    (scene,) = merge_tiles(tiles)
    assert scene.name == 'P1'
    np.testing.assert_allclose(scene.boxes, box[None], atol=1e-9)
    assert scene.scores.tolist() == [0.9]


def test_scenes_classes_and_thresholds_are_kept_apart():
    box, near = rectangle(50, 50, 20, 10), rectangle(66, 50, 20, 10)  # IoU 4/36 = 0.111
    tiles = [
        tile('b__600__0___0', [box, box], labels=[0, 1]),
        tile('a__600__0___0', [box, near], scores=[0.5, 0.6]),
        tile('c__600__0___0', []),
    ]
    a, b, c = merge_tiles(tiles, iou_threshold=0.1)
    assert [s.name for s in (a, b, c)] == ['a', 'b', 'c']
    np.testing.assert_array_equal(a.boxes, near[None])
    assert sorted(b.labels) == [0, 1]
    assert (c.boxes.shape, c.labels.shape, c.scores.shape) == ((0, 8), (0,), (0,))
    a, *_ = merge_tiles(tiles, iou_threshold=0.112)
    assert a.scores.tolist() == [0.6, 0.5]
    assert merge_tiles([]) == []


def test_whole_object_is_preferred_to_a_cut_one():
    whole, cut = rectangle(90, 50, 20, 10), rectangle(88, 50, 16, 10)
    for boxes in ([cut, whole], [whole, cut]):
        (scene,) = merge_tiles([tile('a__600__0___0', boxes)])
        np.testing.assert_array_equal(scene.boxes, whole[None])
    # The whole object is no rectangle and has less area than what was made of a part.
    slim = np.array((80, 45, 100, 45, 100, 46, 81, 55))
    (scene,) = merge_tiles([tile('a__600__0___0', [rectangle(88, 50, 16, 10), slim])])
    np.testing.assert_array_equal(scene.boxes, slim[None])
    (scene,) = merge_tiles([tile('a__600__0___0', [cut, whole], scores=[0.6, 0.5])])
    np.testing.assert_array_equal(scene.boxes, cut[None])


def test_a_suppressed_box_suppresses_none():
    chain = [rectangle(x, 50, 20, 10) for x in (50, 62, 74, 86, 98)]
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    kept = polygon_nms(np.array(chain), scores, 0.1)
    assert kept.tolist() == [0, 2, 4]
    kept = polygon_nms(np.array(chain), scores[[0, 1, 4, 2, 3]], 0.1)
    assert kept.tolist() == [0, 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.8))
def test_same_as_mmcv(seed, threshold):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 80)
    rboxes = np.concatenate(
        [
            rng.uniform(0, 150, (n, 2)),
            rng.uniform(4, 60, (n, 2)),
            rng.uniform(-90, 90, (n, 1)),
        ],
        axis=1,
    )
    scores = rng.permutation(n) / n
    boxes = np.array([rectangle(*row) for row in rboxes])
    rboxes[:, 4] = np.radians(rboxes[:, 4])
    expected = nms_rotated(
        torch.tensor(rboxes, dtype=torch.float32),
        torch.tensor(scores).float(),
        threshold,
    )[1]
    assert polygon_nms(boxes, scores, threshold).tolist() == sorted(expected.tolist())


def test_far_corner_of_a_large_scene():
    """Thin ships side by side at 20000 pixels, 0.05 of their width apart."""
    ships = [rectangle(19900 + 2.1 * i, 19950 - 0.3 * i, 2, 40, 8) for i in range(30)]
    tiles = [
        tile(f'a__600__{x}___{y}', np.array(ships) - np.tile((x, y), 4))
        for x in (19350, 19400)
        for y in (19350, 19400)
    ]
    (scene,) = merge_tiles(tiles)
    np.testing.assert_allclose(
        sorted(scene.boxes.tolist()), sorted(np.array(ships).tolist()), atol=1e-6
    )


def test_what_cannot_be_merged():
    with pytest.raises(AnnotationError, match='P1: not the name of a tile'):
        merge_tiles([tile('P1', [])])
    for threshold in (-0.1, 1.1, float('nan')):
        with pytest.raises(
            ConfigError, match=r'iou_threshold: got .*, expected 0 to 1'
        ):
            merge_tiles([], threshold)


def uncut(boxes, tile_names, tile_size):
    """(n,), boxes that lie in a tile altogether."""
    points = boxes.reshape(-1, 4, 2)
    found = np.zeros(len(boxes), bool)
    for name in tile_names:
        low = np.array(tile_origin(name)[1:])
        found |= ((points >= low) & (points <= low + tile_size)).all((1, 2))
    return found


def assert_round_trip(source: Path, out: Path, size: int, gap: int) -> int:
    """Split, take the truth of the tiles for detections, merge: the truth of scenes.

    Returns:
        The number of objects that some tile holds whole.
    """
    counts = split_dota(source, out, sizes=(size,), gaps=(gap,), progress=False)
    names = sorted(find_files(out / 'labelTxt', frozenset({'.txt'})))
    merged = merge_tiles([as_detections(out, name, (size, size)) for name in names])
    images = find_files(source / 'images', IMAGE_SUFFIXES)
    assert [scene.name for scene in merged] == sorted(images)
    found_once = Counter(CLASSES['1.0'][i] for s in merged for i in s.labels)
    assert found_once == counts.whole + counts.cut
    total = 0
    for scene in merged:
        image_size = read_image_size(images[scene.name])
        truth = as_detections(source, scene.name, image_size)
        tiles = [name for name in names if tile_origin(name)[0] == scene.name]
        whole = uncut(truth.boxes, tiles, size)
        total += whole.sum()
        distances = np.abs(truth.boxes[whole, None] - scene.boxes).max(-1)
        same = truth.labels[whole, None] == scene.labels
        found = (same & (distances < 1e-3)).sum(1)
        assert (found == 1).all(), scene.name
    return total


@pytest.mark.parametrize(('size', 'gap'), [(64, 24), (64, 40), (150, 50), (400, 0)])
def test_round_trip_of_made_scenes(tmp_path, size, gap):
    rng = np.random.default_rng(size + gap)
    scenes = {}
    for scene in range(3):
        cells = rng.permutation(
            np.stack(np.mgrid[15:300:26, 15:200:26], -1).reshape(-1, 2)
        )
        boxes = [
            rectangle(x, y, *rng.uniform(6, 24, 2), rng.uniform(0, 360))
            for x, y in cells[: 20 * scene]
        ]
        names = rng.choice(CLASSES['1.0'][4:7], len(boxes))
        scenes[f'P__{scene}'] = [
            line(corners, name) for corners, name in zip(boxes, names, strict=True)
        ]
    source = write_scenes(tmp_path / 'in', scenes, size=(310, 210))
    assert assert_round_trip(source, tmp_path / 'out', size, gap) > 30


@pytest.mark.parametrize(('size', 'gap'), [(600, 150), (600, 300), (1024, 200)])
def test_round_trip_of_real_scenes(real_data, tmp_path, size, gap):
    """Objects of a class overlap there with an IoU of up to 0.073.

    The images are blank, because encoding real ones would take most of the time.
    """
    source, real = tmp_path / 'in', real_data / 'DOTA-mini'
    (source / 'images').mkdir(parents=True)
    (source / 'labelTxt').symlink_to(real / 'labelTxt')
    for name, image in find_files(real / 'images', IMAGE_SUFFIXES).items():
        Image.new('L', read_image_size(image)).save(source / f'images/{name}.png')
    assert assert_round_trip(source, tmp_path / 'out', size, gap) > 1000
