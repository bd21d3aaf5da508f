"""The layouts that can be checked: one entry each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from aerialkd.datasets import dota_format, hrsc2016_format, visdrone_format
from aerialkd.datasets.dota import DOTADataset
from aerialkd.datasets.hrsc2016 import SHIP_NAMES, HRSC2016Dataset, ship_names
from aerialkd.datasets.native import NativeDataset
from aerialkd.datasets.visdrone import VisDroneDataset
from aerialkd.errors import AnnotationError

VERSIONS = tuple(dota_format.CLASSES)

Size = tuple[int, int]
Classes = Sequence[str] | None
Problems = list[AnnotationError]


class FoundObject(NamedTuple):
    """What statistics need to know of an annotation.

    Attributes:
        name: its class.
        sides: in pixels, along the box's own axes.
        difficult: whether it is marked so.
        is_object: False for what no detector has to find.
    """

    name: str
    sides: tuple[float, float]
    difficult: bool = False
    is_object: bool = True


@dataclass(frozen=True)
class Layout:
    """How a data set lies on the disk, and how its annotation files are read.

    Attributes:
        dataset: its reader, which knows the folders and endings.
        read: objects of a file, of an image of that size, of those classes (None: the
            layout's own); the errors of bad ones go to the list.
        lists: folder of the lists of images, if the reader takes such lists.
        versions: that the data set has; the first is the default.
    """

    dataset: type[NativeDataset]
    read: Callable[[Path, Size, Classes, Problems], list[FoundObject]]
    lists: str | None = None
    versions: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, str]:
        """Of images and of annotations, below that of the data set."""
        prefix = self.dataset.DEFAULT_PREFIX
        return prefix['img_path'], prefix['ann_path']


def _read_visdrone(
    file: Path, size: Size, classes: Classes, problems: Problems
) -> list[FoundObject]:
    classes = classes or visdrone_format.CLASSES
    names = ('ignored region', *classes, 'others')
    boxes = visdrone_format.read_annotations(file, size, problems, classes)
    found = []
    for box in boxes:
        x1, y1, x2, y2 = box.bbox
        name = names[box.category]
        if not (box.is_object or box.is_ignored_region or box.score):
            name = f'{name} of score 0'
        sides = (x2 - x1, y2 - y1)
        found.append(FoundObject(name, sides, is_object=box.is_object))
    return found


def _read_dota(
    file: Path, size: Size, classes: Classes, problems: Problems
) -> list[FoundObject]:
    classes = classes or dota_format.CLASSES[VERSIONS[0]]
    boxes = dota_format.read_annotations(file, size, classes, problems)
    return [
        FoundObject(box.name, _rectangle(box.corners), box.difficult > 0)
        for box in boxes
    ]


def _rectangle(corners: tuple[float, ...]) -> tuple[float, float]:
    """Sides of the smallest rectangle around the corners, in whatever order."""
    points = np.array(corners, np.float32).reshape(4, 2)
    (width, height) = cv2.minAreaRect(points)[1]
    return float(width), float(height)


def _read_hrsc2016(
    file: Path, size: Size, classes: Classes, problems: Problems
) -> list[FoundObject]:
    names = SHIP_NAMES if classes is None else ship_names(classes)
    ships = hrsc2016_format.read_objects(file, size, names, problems)
    return [
        FoundObject(names[ship.class_id], (ship.w, ship.h), ship.difficult > 0)
        for ship in ships
    ]


LAYOUTS = {
    'visdrone': Layout(VisDroneDataset, _read_visdrone),
    'dota': Layout(DOTADataset, _read_dota, versions=VERSIONS),
    'hrsc2016': Layout(HRSC2016Dataset, _read_hrsc2016, lists='ImageSets'),
}
