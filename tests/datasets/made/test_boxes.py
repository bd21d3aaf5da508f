"""Oriented boxes against the pixels that each object owns, in whole pictures."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from mmrotate.datasets import HRSCDataset

from aerialkd.datasets.made import harbour, make_data, satellite, scene
from aerialkd.datasets.made.formats import dota_annotation
from aerialkd.datasets.made.scene import OVERSAMPLING, SceneObject

SIZE = 192
MODULES = {'satellite': satellite, 'harbour': harbour}


@pytest.fixture
def owned(monkeypatch) -> Iterator[list]:
    """For each finished picture: its objects, each with the points of its pixels."""
    pictures: list = []
    last: dict = {}

    def composing(canvas, rng, placed):
        objects = scene.compose(canvas, rng, placed)
        last.update(canvas=canvas, placed=placed)
        return objects

    for module in MODULES.values():
        finish = module.satellite_photo

        def finishing(canvas, rng, objects, size, finish=finish):
            if last['canvas'] is canvas:
                pictures.append(
                    [(o, pixels(canvas, last['placed'], o)) for o in objects]
                )
            return finish(canvas, rng, objects, size)

        monkeypatch.setattr(module, 'compose', composing)
        monkeypatch.setattr(module, 'satellite_photo', finishing)
    return pictures


def pixels(canvas, placed: list, item: SceneObject) -> np.ndarray:
    """Corners of all pixels of an object in the picture's coordinates, (n, 2)."""
    found = [
        owner
        for owner, thing in enumerate(placed, start=1)
        if (thing.footprint(canvas.camera) / OVERSAMPLING == item.corners).all()
    ]
    rows, columns = np.nonzero(canvas.owners == found[-1])
    middles = np.stack([columns, rows], axis=1)
    half = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    return (middles[:, None] + half).reshape(-1, 2) / OVERSAMPLING


def around(points: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Smallest rectangle (4, 2) around points with sides in a given direction."""
    along = along / np.linalg.norm(along)
    axes = np.stack([along, [-along[1], along[0]]], axis=1)
    low, high = (points @ axes).min(0), (points @ axes).max(0)
    return np.array([low, [high[0], low[1]], high, [low[0], high[1]]]) @ axes.T


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two convex polygons (n, 2)."""
    first, second = (cv2.convexHull(p.astype(np.float32)) for p in (first, second))
    common = cv2.intersectConvexConvex(first, second)[0]
    return common / (cv2.contourArea(first) + cv2.contourArea(second) - common)


def is_whole(item: SceneObject) -> bool:
    return item.occlusion < 0.03 and item.truncation == 0


@pytest.mark.parametrize(
    ('kind', 'render'),
    [
        ('satellite', satellite.render_satellite),
        ('harbour', harbour.render_harbour),
    ],
)
def test_boxes_fit_in_whole_pictures(kind: str, render, owned: list) -> None:
    for seed in range(25):
        render(np.random.default_rng([8, seed]), SIZE)
    whole = [pair for objects in owned for pair in objects if is_whole(pair[0])]
    assert len(owned) >= 20
    assert len(whole) > 60
    overlaps, off = [], []
    for item, points in whole:
        expected = around(points, item.corners[1] - item.corners[0])
        overlaps.append(iou(item.corners, expected))
        off.append(np.abs(expected - item.corners).max())
    # Touched pixels are painted, and tops lean a little: up to 0.08 of their height.
    assert np.percentile(off, 99) < 2
    assert np.median(overlaps) > 0.72
    large = [o for o, (item, _) in zip(overlaps, whole, strict=True) if wide(item) > 12]
    assert min(large) > 0.8
    for name in {item.name for item, _ in whole}:
        same = [o for o, (i, _) in zip(overlaps, whole, strict=True) if i.name == name]
        assert np.median(same) > 0.65, name


def wide(item: SceneObject) -> float:
    return float(np.linalg.norm(item.corners[[1, 3]] - item.corners[0], axis=1).min())


def test_dota_boxes_of_cut_objects_fit_what_is_left(owned: list) -> None:
    overlaps, flags = [], []
    for seed in range(25):
        s = satellite.render_satellite(np.random.default_rng([9, seed]), SIZE)
        if not owned or len(owned[-1]) != len(s.objects):
            continue
        lines = dota_annotation(s).splitlines()
        for line, (item, points) in zip(lines, owned[-1], strict=True):
            *numbers, _, difficult = line.split()
            flags.append(difficult)
            if item.truncation > 0 and item.occlusion < 0.03:
                corners = np.array(numbers, float).reshape(4, 2)
                overlaps.append(iou(corners, around(points, corners[0] - corners[3])))
    assert len(overlaps) > 20
    assert np.percentile(overlaps, 10) > 0.5
    assert 0.02 < np.mean(np.array(flags) == '1') < 0.3


def test_boxes_that_mmrotate_reads_cover_the_ships(tmp_path, owned: list) -> None:
    make_data('hrsc2016', tmp_path / 'made', images=12, size=SIZE, progress=False)
    overlaps, bows = [], []
    for split in ('trainval', 'test'):
        dataset = HRSCDataset(
            data_root=str(tmp_path / 'made'),
            ann_file=f'ImageSets/{split}.txt',
            data_prefix={'sub_data_root': 'FullDataSet/'},
            filter_cfg={'filter_empty_gt': False},
        )
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            picture = owned[int(info['img_id']) - 100000001]
            for read, (item, points) in zip(info['instances'], picture, strict=True):
                corners = np.array(read['bbox']).reshape(4, 2)
                if item.occlusion > 0.03 or len(points) < 400:
                    continue
                drawn = cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32)))
                overlaps.append(iou(corners, drawn))
                forward = item.corners[1] - item.corners[0]
                bows.append((read['head'] - corners.mean(0)) @ forward)
    assert len(overlaps) > 15
    assert min(overlaps) > 0.6
    assert np.mean(overlaps) > 0.75
    assert min(bows) > 0
