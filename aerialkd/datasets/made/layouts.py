"""What made data sets look like on disk: the files of each native layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerialkd.datasets.made.formats import (
    dota_annotation,
    hrsc_annotation,
    sirst_annotation,
    sirst_mask,
    visdrone_annotation,
)
from aerialkd.datasets.made.harbour import render_harbour
from aerialkd.datasets.made.infrared import InfraredScene, render_infrared
from aerialkd.datasets.made.satellite import render_satellite
from aerialkd.datasets.made.scene import Scene, render_scene

JPEG_QUALITY = 92


@dataclass(frozen=True)
class Layout:
    """What a data set looks like on disk.

    Attributes:
        version: of the pictures; another one makes others from the same seed.
        render: makes a picture of a size in pixels.
        done: the file of a picture that is written last: where it is, all are.
        files: of a picture, given its split and number; contents by path, ``done``
            last.
        lists: of the whole data set; contents by path, given the numbers in ``train``
            and ``val``.
    """

    version: int
    render: Callable[[np.random.Generator, int], Any]
    done: Callable[[str, int], str]
    files: Callable[[Any, str, int], dict[str, bytes]]
    lists: Callable[[dict[str, range]], dict[str, bytes]] = lambda splits: {}


def _visdrone_done(split: str, index: int) -> str:
    return f'{split}/annotations/{index:07d}.txt'


def _visdrone_files(scene: Scene, split: str, index: int) -> dict[str, bytes]:
    return {
        f'{split}/images/{index:07d}.jpg': encoded(scene.image, '.jpg'),
        _visdrone_done(split, index): visdrone_annotation(scene).encode(),
    }


def _dota_done(split: str, index: int) -> str:
    return f'{split}/labelTxt/P{index:04d}.txt'


def _dota_files(scene: Scene, split: str, index: int) -> dict[str, bytes]:
    return {
        f'{split}/images/P{index:04d}.png': encoded(scene.image, '.png'),
        _dota_done(split, index): dota_annotation(scene).encode(),
    }


def _hrsc_stem(index: int) -> str:
    return str(100000001 + index)


def _hrsc_done(split: str, index: int) -> str:
    return f'FullDataSet/Annotations/{_hrsc_stem(index)}.xml'


def _hrsc_files(scene: Scene, split: str, index: int) -> dict[str, bytes]:
    stem = _hrsc_stem(index)
    return {
        f'FullDataSet/AllImages/{stem}.bmp': encoded(scene.image, '.bmp'),
        _hrsc_done(split, index): hrsc_annotation(scene, stem).encode(),
    }


def _hrsc_lists(splits: dict[str, range]) -> dict[str, bytes]:
    trainval = splits['train']
    # As in the real lists, about 7 of 10 are to train on.
    middle = trainval.start + max(1, round(0.7 * len(trainval)))
    lists = {
        'trainval': trainval,
        'train': range(trainval.start, middle),
        'val': range(middle, trainval.stop),
        'test': splits['val'],
    }
    return {
        f'ImageSets/{name}.txt': lines(_hrsc_stem(index) for index in numbers)
        for name, numbers in lists.items()
    }


def _sirst_done(split: str, index: int) -> str:
    return f'annotations/bboxes/Misc_{index + 1}.xml'


def _sirst_files(scene: InfraredScene, split: str, index: int) -> dict[str, bytes]:
    stem = f'Misc_{index + 1}'
    mask = encoded(sirst_mask(scene), '.png')
    return {
        f'images/targets/{stem}.png': encoded(scene.image, '.png'),
        f'annotations/masks/{stem}_pixels0.png': mask,
        _sirst_done(split, index): sirst_annotation(scene, stem).encode(),
    }


def _sirst_lists(splits: dict[str, range]) -> dict[str, bytes]:
    lists = {**splits, 'trainval': range(splits['val'].stop)}
    return {
        f'splits/{split}_v1fullv2target.txt': lines(f'Misc_{i + 1}' for i in numbers)
        for split, numbers in lists.items()
    }


LAYOUTS = {
    'visdrone': Layout(2, render_scene, _visdrone_done, _visdrone_files),
    'dota': Layout(3, render_satellite, _dota_done, _dota_files),
    'hrsc2016': Layout(3, render_harbour, _hrsc_done, _hrsc_files, _hrsc_lists),
    'infrared': Layout(3, render_infrared, _sirst_done, _sirst_files, _sirst_lists),
}


def encoded(picture: NDArray[np.uint8], suffix: str) -> bytes:
    """An image file's content."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == '.jpg' else []
    return bytes(cv2.imencode(suffix, picture, options)[1].tobytes())


def lines(names: Iterable[str]) -> bytes:
    """A list file's content, a name a line."""
    return ''.join(f'{name}\n' for name in names).encode()
