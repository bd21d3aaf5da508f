"""The XML format of HRSC2016 annotations, one file an image.

``HRSC_Image`` holds the image's size and ``HRSC_Objects``, whose ``HRSC_Object`` have
``Class_ID`` (1000000NN), ``truncated``, ``difficult`` and the rotated box ``mbox_cx``,
``mbox_cy``, ``mbox_w``, ``mbox_h`` (pixels) and ``mbox_ang`` (radians). Upright boxes
and the position of the bow are not read.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from aerialkd.datasets.class_lists import unknown_class
from aerialkd.datasets.corner_checks import check_corners
from aerialkd.datasets.text_fields import parse_each
from aerialkd.datasets.xml_trees import Element, read_xml
from aerialkd.errors import AnnotationError

ROOT = 'HRSC_Image'
OBJECTS, OBJECT = 'HRSC_Objects', 'HRSC_Object'


@dataclass(frozen=True)
class HrscObject:
    """One ship.

    Attributes:
        class_id: nine digits as in the file.
        cx: centre in pixels, which may lie outside the image.
        cy: likewise.
        w: length along ``angle`` in pixels.
        h: width across it.
        angle: of the length against the x axis in radians, clockwise as seen.
        truncated: 1 if the image's border cuts it, else 0.
        difficult: 1 if hard to see, else 0.
    """

    class_id: str
    cx: float
    cy: float
    w: float
    h: float
    angle: float
    truncated: int
    difficult: int

    @property
    def corners(self) -> tuple[float, ...]:
        """x1, y1 to x4, y4 in pixels, in the order of mmrotate's ``rbox2qbox``."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return tuple(
            coordinate
            for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))
            for coordinate in (
                self.cx + (a * self.w * cos - b * self.h * sin) / 2,
                self.cy + (a * self.w * sin + b * self.h * cos) / 2,
            )
        )


def read_objects(
    file: Path,
    image_size: tuple[int, int],
    class_ids: Collection[str],
    problems: list[AnnotationError] | None = None,
) -> list[HrscObject]:
    """Read an annotation file; one without objects is an image without objects.

    Args:
        file: the XML file.
        image_size: (width, height) of the image in pixels.
        class_ids: what ``Class_ID`` may be.
        problems: receives the errors of bad objects, which are then left out;
            without it the first bad object is an error. An object that is there twice
            counts as one.

    Raises:
        AnnotationError: names file, line and element: if an object is bad, and always
            if the file is not well-formed, has a DOCTYPE, another root or another
            image size.
    """
    root = read_xml(file, ROOT)
    for tag, pixels in zip(
        ('Img_SizeWidth', 'Img_SizeHeight'), image_size, strict=True
    ):
        stated = root.number_of(tag)
        if stated != pixels:
            raise AnnotationError.at(
                root.child(tag).where,
                'size of another image',
                f'got {stated:g}, expected the {pixels} pixels of the image; restore '
                'the image or the file that belongs to it.',
            )
    elements = root.child(OBJECTS).elements(OBJECT)
    return parse_each(
        file,
        [(element.line, element) for element in elements],
        lambda element, _: _object(element, image_size, class_ids),
        lambda ship: (ship.class_id, ship.cx, ship.cy, ship.w, ship.h, ship.angle),
        problems,
    )


def _object(
    element: Element, image_size: tuple[int, int], class_ids: Collection[str]
) -> HrscObject:
    class_id = element.word('Class_ID')
    if class_id not in class_ids:
        where = element.child('Class_ID').where
        raise unknown_class(where, class_id[:40], _listed(class_ids), 'object')
    flags = [element.flag(tag) for tag in ('truncated', 'difficult')]
    cx, cy = (element.number_of(f'mbox_{name}') for name in ('cx', 'cy'))
    w, h = (_side(element, f'mbox_{name}') for name in ('w', 'h'))
    angle = element.number_of('mbox_ang')
    if abs(angle) > 2 * math.pi:
        raise AnnotationError.at(
            element.child('mbox_ang').where,
            'no angle in radians',
            f'got {angle:g}, expected at most one turn; convert degrees, or correct or '
            'delete the object.',
        )
    ship = HrscObject(class_id, cx, cy, w, h, angle, *flags)
    check_corners(ship.corners, element.where, image_size)
    return ship


def _listed(class_ids: Collection[str]) -> str:
    numbers = sorted(class_id for class_id in class_ids if class_id.isdigit())
    names = [class_id for class_id in class_ids if not class_id.isdigit()]
    text = f'one of {len(numbers)} from {numbers[0]} to {numbers[-1]}'
    return text + (f' ({", ".join(names)})' if names else '')


def _side(element: Element, tag: str) -> float:
    value = element.number_of(tag)
    if value <= 0:
        raise AnnotationError.at(
            element.child(tag).where,
            'empty box',
            f'got {value:g}, expected more than 0; correct or delete the object.',
        )
    return value
