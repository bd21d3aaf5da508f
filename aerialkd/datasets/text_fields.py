"""Text files of annotations, and the numbers in them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from aerialkd.errors import AnnotationError

Raw = TypeVar('Raw')
Parsed = TypeVar('Parsed')
# float() alone would also take '1_000' and digits of other scripts.
_NUMBER = re.compile(r'[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?', re.ASCII)


def read_text(file: Path) -> str:
    """A text file in UTF-8, without a byte order mark.

    Raises:
        AnnotationError: if it is no text.
    """
    try:
        # A byte order mark, as Windows editors write it, is no part of the first field.
        return file.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f'{file}: no readable text file: got {error}, expected UTF-8; restore it.'
        ) from error


def read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Lines of a text file that are not blank, each with its ``file:line``.

    Raises:
        AnnotationError: if the file is no text.
    """
    # Not splitlines(): it also ends lines at form feeds, which no editor counts.
    for number, line in enumerate(read_text(file).split('\n'), start=1):
        if line.strip():
            yield f'{file}:{number}', line


def parse_each(
    parse: Callable[[Raw, str], Parsed],
    items: Iterable[tuple[str, Raw]],
    problems: list[str] | None,
) -> list[Parsed]:
    """Parse the annotations of a file.

    Args:
        parse: takes an annotation and its place.
        items: places and annotations.
        problems: receives the messages of bad ones, which are then left out.

    Raises:
        AnnotationError: without ``problems``, at the first bad one.
    """
    parsed = []
    for where, raw in items:
        try:
            parsed.append(parse(raw, where))
        except AnnotationError as error:
            if problems is None:
                raise
            problems.append(str(error))
    return parsed


def finite_number(
    field: str, what: str, repair: str = 'correct or delete the line'
) -> float:
    """The number that a field of an annotation holds.

    Args:
        field: decimal digits, with white space around them or without.
        what: what the message says before 'no finite number': place and field.
        repair: the message's last words.

    Raises:
        AnnotationError: if it is text, infinite or not a number.
    """
    text = field.strip()
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise AnnotationError(
            f'{what} no finite number: got {text[:40]!r}, expected decimal digits; '
            f'{repair}.'
        )
    return value
