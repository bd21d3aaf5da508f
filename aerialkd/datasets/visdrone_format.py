"""The text format of VisDrone-DET annotations, one object a line.

``x, y, width, height, score, class, truncation, occlusion`` in pixels; class 0 is an
ignored region, 1 to 10 are objects, 11 is "others". Score 0 marks what the benchmark
does not evaluate. Other data in this format have other classes, from 1 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aerialkd.datasets.class_lists import numbered, unknown_class
from aerialkd.datasets.corner_checks import check_pixels
from aerialkd.datasets.foreign_formats import wrong_fields
from aerialkd.datasets.text_fields import finite_number, numbered_lines, parse_each
from aerialkd.errors import AnnotationError

CLASSES = (
    'pedestrian',
    'people',
    'bicycle',
    'car',
    'van',
    'truck',
    'tricycle',
    'awning-tricycle',
    'bus',
    'motor',
)
IGNORED_REGION, OTHERS = 0, 11
FIELDS = ('x', 'y', 'width', 'height', 'score', 'class', 'truncation', 'occlusion')


@dataclass(frozen=True)
class VisDroneBox:
    """One line of an annotation file, clipped to its image.

    Attributes:
        bbox: x1, y1, x2, y2 in pixels.
        category: 0 to 11 as in the file, or whatever its classes are.
        score: 1, or 0 where the benchmark does not evaluate the object.
        truncation: 0 (none) or 1 (1 to 50 % outside the frame); -1 not stated.
        occlusion: 0 (none), 1 (1 to 50 %) or 2 (more); -1 not stated.
        num_classes: how many classes are evaluated.
    """

    bbox: tuple[float, float, float, float]
    category: int
    score: int
    truncation: int
    occlusion: int
    num_classes: int = len(CLASSES)

    @property
    def is_ignored_region(self) -> bool:
        """Whether nothing in this box counts, neither in the loss nor in evaluation."""
        return self.category == IGNORED_REGION

    @property
    def is_object(self) -> bool:
        """Whether this is an object of the classes that are evaluated."""
        return 0 < self.category <= self.num_classes and self.score != 0


def parse_line(
    text: str,
    where: str,
    image_size: tuple[int, int],
    classes: Sequence[str] = CLASSES,
) -> VisDroneBox:
    """Parse one line of an annotation file.

    Args:
        text: the line; a trailing comma, as in some official files, is accepted.
        where: ``file:line``, for messages.
        image_size: (width, height) of the image in pixels.
        classes: names of the numbers from 1 on.

    Raises:
        AnnotationError: names file, line, what is wrong and what was expected.
    """
    fields = text.strip().removesuffix(',').split(',')
    if len(fields) != len(FIELDS):
        raise wrong_fields(where, text, len(fields), FIELDS, 'VisDrone', ',')
    x, y, width, height, *rest = (
        finite_number(field, f'{where}: {name}')
        for field, name in zip(fields, FIELDS, strict=True)
    )
    score, category, truncation, occlusion = (
        _integer(value, name, where)
        for value, name in zip(rest, FIELDS[4:], strict=True)
    )
    # "Others" follow VisDrone's ten classes, also under names of the user's.
    last = OTHERS if len(classes) == len(CLASSES) else len(classes)
    if not IGNORED_REGION <= category <= last:
        names = ('ignored region', *classes, 'others')[: last + 1]
        expected = f'0 to {last}: {numbered(names, IGNORED_REGION)}'
        raise unknown_class(where, category, expected)
    if score not in (0, 1):
        raise AnnotationError.at(
            where,
            'unknown score',
            f'got {score}, expected 0 (not evaluated) or 1; correct the line.',
        )
    if width <= 0 or height <= 0:
        raise AnnotationError.at(
            where,
            'empty box',
            f'got width {width:g}, height {height:g}, expected both above 0; correct '
            'or delete the line.',
        )
    check_pixels((x, y, x + width, y + height), where)
    right, bottom = min(x + width, image_size[0]), min(y + height, image_size[1])
    left, top = max(x, 0.0), max(y, 0.0)
    if left >= right or top >= bottom:
        raise AnnotationError.at(
            where,
            'box outside the image',
            f'got {x:g},{y:g} to {x + width:g},{y + height:g}, expected a part of it '
            f'in {image_size[0]}x{image_size[1]} pixels; correct or delete the line.',
        )
    bbox = (left, top, right, bottom)
    return VisDroneBox(bbox, category, score, truncation, occlusion, len(classes))


def read_annotations(
    file: Path,
    image_size: tuple[int, int],
    problems: list[AnnotationError] | None = None,
    classes: Sequence[str] = CLASSES,
) -> list[VisDroneBox]:
    """Read an annotation file; an empty one is an image without objects.

    Args:
        file: the text file.
        image_size: (width, height) of the image in pixels.
        problems: receives the errors of bad lines, which are then left out; without
            it the first bad line is an error. An object that is there twice counts as
            one, whatever it says beside class and box.
        classes: names of the numbers from 1 on.

    Raises:
        AnnotationError: if a line is bad, or the file is no text.
    """
    return parse_each(
        file,
        numbered_lines(file),
        lambda line, where: parse_line(line, where, image_size, classes),
        lambda box: (box.category, box.bbox),
        problems,
    )


def _integer(value: float, name: str, where: str) -> int:
    if not value.is_integer():
        raise AnnotationError.at(
            f'{where}: {name}',
            'no whole number',
            f'got {value:g}, expected an integer; correct the line (detection results '
            'are no annotations).',
        )
    return int(value)
