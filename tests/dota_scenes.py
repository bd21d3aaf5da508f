"""Small scenes in DOTA's layout, and detections that equal their ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from aerialkd.datasets.dota_format import CLASSES, DotaBox, read_annotations
from aerialkd.evaluation.task1 import SceneDetections


def write_scenes(
    root: Path,
    scenes: Mapping[str, Sequence[str]],
    size: tuple[int, int] = (100, 80),
    suffix: str = '.png',
) -> Path:
    """Write noise and the lines of each scene under ``root``."""
    (root / 'images').mkdir(parents=True, exist_ok=True)
    (root / 'labelTxt').mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name, lines in scenes.items():
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        encoded = cv2.imencode(suffix, pixels)[1]
        (root / 'images' / f'{name}{suffix}').write_bytes(encoded.tobytes())
        text = ''.join(f'{line}\n' for line in lines)
        (root / 'labelTxt' / f'{name}.txt').write_text(text)
    return root


def rectangle(
    x: float, y: float, width: float, height: float, degrees: float = 0.0
) -> np.ndarray:
    """(8,), corners clockwise from the front left of a box about its centre."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, across = np.array((c, s)) * width / 2, np.array((-s, c)) * height / 2
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return np.concatenate([(x, y) + a * along + b * across for a, b in signs])


def line(corners: Sequence[float], name: str = 'ship', difficult: int = 0) -> str:
    return f'{" ".join(f"{value:.4f}" for value in corners)} {name} {difficult}'


def read_boxes(
    folder: Path, name: str, size: tuple[int, int], version: str = '1.0'
) -> list[DotaBox]:
    file = folder / 'labelTxt' / f'{name}.txt'
    return read_annotations(file, size, CLASSES[version])


def as_detections(
    folder: Path, name: str, size: tuple[int, int], score: float = 0.5
) -> SceneDetections:
    """What a perfect detector says of an image."""
    boxes = read_boxes(folder, name, size)
    return SceneDetections(
        name,
        np.array([box.corners for box in boxes], np.float64).reshape(-1, 8),
        np.array([CLASSES['1.0'].index(box.name) for box in boxes], np.int64),
        np.full(len(boxes), score),
    )
