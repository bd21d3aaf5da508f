"""Text files with one object a line, and the numbers in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from aerialkd.errors import AnnotationError

# float() alone would also take '1_000' and digits of other scripts.
_NUMBER = re.compile(r'[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?', re.ASCII)


def read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Lines of a text file that are not blank, each with its ``file:line``.

    Raises:
        AnnotationError: if the file is no text.
    """
    try:
        # A byte order mark, as Windows editors write it, is no part of the first field.
        text = file.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f'{file}: no readable text file: got {error}, expected UTF-8; restore it.'
        ) from error
    # Not splitlines(): it also ends lines at form feeds, which no editor counts.
    for number, line in enumerate(text.split('\n'), start=1):
        if line.strip():
            yield f'{file}:{number}', line


def finite_number(
    field: str, what: str, repair: str = 'correct or delete the line'
) -> float:
    """The number that a field of an annotation holds.

    Args:
        field: decimal digits, with white space around them or without.
        what: place and name of the field, for the message.
        repair: the message's last words.

    Raises:
        AnnotationError: if it is text, infinite or not a number.
    """
    text = field.strip()
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise AnnotationError(
            f'{what} is no finite number: got {text[:40]!r}, expected decimal digits; '
            f'{repair}.'
        )
    return value
