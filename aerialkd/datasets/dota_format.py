"""The text format of DOTA annotations, one object a line.

``x1 y1 x2 y2 x3 y3 x4 y4 class difficult`` in pixels, below two optional header lines
``imagesource:...`` and ``gsd:...``. Difficult is 0, 1 (hard to see), or 2, which DOTA's
tools write where a tile's border cuts off much of an object.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aerialkd.datasets.class_lists import unknown_class
from aerialkd.datasets.corner_checks import check_corners
from aerialkd.datasets.foreign_formats import wrong_fields
from aerialkd.datasets.text_fields import finite_number, numbered_lines, parse_each
from aerialkd.errors import AnnotationError

_CLASSES_1_0 = (
    'plane',
    'baseball-diamond',
    'bridge',
    'ground-track-field',
    'small-vehicle',
    'large-vehicle',
    'ship',
    'tennis-court',
    'basketball-court',
    'storage-tank',
    'soccer-ball-field',
    'roundabout',
    'harbor',
    'swimming-pool',
    'helicopter',
)
_CLASSES_1_5 = (*_CLASSES_1_0, 'container-crane')
CLASSES: dict[str, tuple[str, ...]] = {
    '1.0': _CLASSES_1_0,
    '1.5': _CLASSES_1_5,
    '2.0': (*_CLASSES_1_5, 'airport', 'helipad'),
}
COORDINATES = ('x1', 'y1', 'x2', 'y2', 'x3', 'y3', 'x4', 'y4')
FIELDS = (*COORDINATES, 'class', 'difficult')
DIFFICULTIES = ('0', '1', '2')
_HEADER = re.compile(r'\s*(?:imagesource|gsd)\s*:', re.IGNORECASE)


@dataclass(frozen=True)
class DotaBox:
    """One line of an annotation file.

    The corners may come in any order, even one whose outline crosses itself: what is
    learned and evaluated is the smallest rectangle around them.

    Attributes:
        corners: x1, y1 to x4, y4 in pixels as in the file; some may lie outside the
            image.
        name: the class.
        difficult: 0, 1 or 2.
    """

    corners: tuple[float, ...]
    name: str
    difficult: int

    @property
    def identity(self) -> Hashable:
        """What two boxes that are the same object have in common."""
        points = zip(self.corners[::2], self.corners[1::2], strict=True)
        return self.name, tuple(sorted(points))


def parse_line(
    text: str, where: str, image_size: tuple[int, int], classes: Sequence[str]
) -> DotaBox:
    """Parse one line of an annotation file.

    Args:
        text: the line, not a header.
        where: ``file:line``, for messages.
        image_size: (width, height) of the image in pixels.
        classes: all that the data set has.

    Raises:
        AnnotationError: names file, line, what is wrong and what was expected.
    """
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise wrong_fields(where, text, len(fields), FIELDS, 'DOTA', ' ')
    corners = tuple(
        finite_number(field, f'{where}: {name}')
        for field, name in zip(fields, COORDINATES, strict=False)
    )
    name, difficult = fields[len(COORDINATES) :]
    if name not in classes:
        raise _unknown(name, where, classes)
    if difficult not in DIFFICULTIES:
        raise AnnotationError.at(
            where,
            'unknown difficult',
            f'got {difficult[:40]!r}, expected 0, 1 (hard to see) or 2 (cut by a '
            'tile); correct the line.',
        )
    check_corners(corners, where, image_size)
    return DotaBox(corners, name, int(difficult))


def read_annotations(
    file: Path,
    image_size: tuple[int, int],
    classes: Sequence[str],
    problems: list[AnnotationError] | None = None,
) -> list[DotaBox]:
    """Read an annotation file; an empty one is an image without objects.

    Args:
        file: the text file, with header lines or without.
        image_size: (width, height) of the image in pixels.
        classes: all that the data set has.
        problems: receives the errors of bad lines, which are then left out; without
            it the first bad line is an error. An object that is there twice counts as
            one, in whatever order its corners come.

    Raises:
        AnnotationError: if a line is bad, or the file is no text.
    """
    lines = numbered_lines(file)
    return parse_each(
        file,
        itertools.dropwhile(lambda pair: _HEADER.match(pair[1]), lines),
        lambda line, where: parse_line(line, where, image_size, classes),
        lambda box: box.identity,
        problems,
    )


def format_line(box: DotaBox) -> str:
    r"""The line of a box, with its end; coordinates to four decimals.

    >>> format_line(DotaBox((1.5, 0, 9, 0, 9, 4, 1.5, 4), 'ship', 0))
    '1.5 0 9 0 9 4 1.5 4 ship 0\n'
    """
    # Adding 0 turns -0 into 0.
    numbers = (f'{round(value, 4) + 0.0:.4f}' for value in box.corners)
    texts = [number.rstrip('0').rstrip('.') for number in numbers]
    return f'{" ".join(texts)} {box.name} {box.difficult}\n'


def _unknown(name: str, where: str, classes: Sequence[str]) -> AnnotationError:
    since = [version for version, names in CLASSES.items() if name in names]
    listed = f'one of {", ".join(classes)}'
    if since and tuple(classes) in CLASSES.values():
        return AnnotationError.at(
            where,
            'unknown class',
            f'got {name!r}, expected {listed}; DOTA has it since version {since[0]}: '
            f'set version={since[0]!r} of the data set, --version of the tools.',
        )
    return unknown_class(where, name[:40], listed)
