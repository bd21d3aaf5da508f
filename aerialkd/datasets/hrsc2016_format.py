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
from xml.etree import ElementTree

from aerialkd.datasets.corner_checks import check_corners
from aerialkd.datasets.text_fields import finite_number, parse_each, read_text
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
    problems: list[str] | None = None,
) -> list[HrscObject]:
    """Read an annotation file; one without objects is an image without objects.

    Args:
        file: the XML file.
        image_size: (width, height) of the image in pixels.
        class_ids: what ``Class_ID`` may be.
        problems: receives the messages of bad objects, which are then left out;
            without it the first bad object is an error.

    Raises:
        AnnotationError: names file and element: if an object is bad, and always if the
            file is not well-formed, has a DOCTYPE, another root or another image size.
    """
    root = _parse(file)
    for tag, pixels in zip(
        ('Img_SizeWidth', 'Img_SizeHeight'), image_size, strict=True
    ):
        stated = _number(root, tag, f'{file}: ')
        if stated != pixels:
            raise AnnotationError(
                f'{file}: {tag}: got {stated:g}, expected the {pixels} pixels of the '
                'image; restore the image or the file that belongs to it.'
            )
    _child(root, OBJECTS, f'{file}: ')
    elements = root.findall(f'{OBJECTS}/{OBJECT}')
    return parse_each(
        lambda element, where: _object(element, where, image_size, class_ids),
        [(f'{file}: {OBJECTS}/{OBJECT}[{i}]', e) for i, e in enumerate(elements, 1)],
        problems,
    )


def _parse(file: Path) -> ElementTree.Element:
    text = read_text(file)
    start = text.find('<!DOCTYPE')
    if start >= 0:
        # It could define entities that unfold to gigabytes or name other files.
        raise AnnotationError(
            f'{file}: has a DOCTYPE: got {text[start : start + 40]!r}, expected none, '
            'as HRSC2016 needs none and it may do harm; restore the file.'
        )
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no DOCTYPE, no entities
    except ElementTree.ParseError as error:
        line, column = error.position
        raise AnnotationError(
            f'{file}:{line}: no well-formed XML: got {error.msg.split(":")[0]} at '
            f'column {column + 1}, expected an {ROOT} element; restore the file.'
        ) from error
    if root.tag != ROOT:
        raise AnnotationError(
            f'{file}: {root.tag}: wrong root: got {root.tag!r}, expected {ROOT!r}; '
            'restore the file.'
        )
    return root


def _object(
    element: ElementTree.Element,
    where: str,
    image_size: tuple[int, int],
    class_ids: Collection[str],
) -> HrscObject:
    prefix = f'{where}/'
    class_id = _text(element, 'Class_ID', prefix)
    if class_id not in class_ids:
        raise AnnotationError(
            f'{prefix}Class_ID: unknown class: got {class_id[:40]!r}, expected one '
            f'of {len(class_ids)} from {min(class_ids)} to {max(class_ids)}; correct '
            'or delete the object.'
        )
    flags = [_flag(element, tag, prefix) for tag in ('truncated', 'difficult')]
    cx, cy = (_number(element, f'mbox_{name}', prefix) for name in ('cx', 'cy'))
    w, h = (_side(element, f'mbox_{name}', prefix) for name in ('w', 'h'))
    angle = _number(element, 'mbox_ang', prefix)
    if abs(angle) > 2 * math.pi:
        raise AnnotationError(
            f'{prefix}mbox_ang: no angle in radians: got {angle:g}, expected at most '
            'one turn; convert degrees, or correct or delete the object.'
        )
    ship = HrscObject(class_id, cx, cy, w, h, angle, *flags)
    check_corners(ship.corners, where, image_size)
    return ship


def _child(parent: ElementTree.Element, tag: str, prefix: str) -> ElementTree.Element:
    found = parent.find(tag)
    if found is None:
        raise AnnotationError(
            f'{prefix}{tag}: missing element: got none in {parent.tag}, expected one; '
            'add it, or restore the file.'
        )
    return found


def _text(parent: ElementTree.Element, tag: str, prefix: str) -> str:
    return (_child(parent, tag, prefix).text or '').strip()


def _number(parent: ElementTree.Element, tag: str, prefix: str) -> float:
    repair = 'correct or delete the object' if parent.tag == OBJECT else 'correct it'
    return finite_number(_text(parent, tag, prefix), f'{prefix}{tag}:', repair)


def _side(parent: ElementTree.Element, tag: str, prefix: str) -> float:
    value = _number(parent, tag, prefix)
    if value <= 0:
        raise AnnotationError(
            f'{prefix}{tag}: empty box: got {value:g}, expected more than 0; correct '
            'or delete the object.'
        )
    return value


def _flag(parent: ElementTree.Element, tag: str, prefix: str) -> int:
    text = _text(parent, tag, prefix)
    if text not in ('0', '1'):
        raise AnnotationError(
            f'{prefix}{tag}: no flag: got {text[:40]!r}, expected 0 or 1; correct it.'
        )
    return int(text)
