"""Text files of annotations, and the numbers in them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from aerialkd.errors import AnnotationError, NothingUsable

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
        raise AnnotationError.at(
            file,
            'no readable text file',
            f'got {error}, expected UTF-8; restore it.',
        ) from error


def read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Lines of a text file that are not blank, each with its ``file:line``.

    Raises:
        AnnotationError: if the file is no text.
    """
    for number, line in numbered_lines(file):
        yield f'{file}:{number}', line


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file that are not blank, with their numbers from 1.

    Raises:
        AnnotationError: if the file is no text.
    """
    # Not splitlines(): it also ends lines at form feeds, which no editor counts.
    for number, line in enumerate(read_text(file).split('\n'), start=1):
        if line.strip():
            yield number, line


def parse_each(
    file: Path,
    items: Iterable[tuple[int, Raw]],
    parse: Callable[[Raw, str], Parsed],
    identity: Callable[[Parsed], Hashable],
    problems: list[AnnotationError] | None,
) -> list[Parsed]:
    """Parse the annotations of a file, each object once.

    Args:
        file: where they come from.
        items: annotations and the numbers of their lines.
        parse: takes an annotation and its ``file:line``.
        identity: what objects have in common of which one is enough: class and box.
        problems: receives the errors of bad ones, which are then left out; of an
            object that is there again the first stays.

    Raises:
        AnnotationError: without ``problems``, at the first bad one.
        NothingUsable: with ``problems``, if there are annotations and all are bad: an
            image without objects is another thing.
    """
    parsed = []
    bad: list[AnnotationError] = []
    lines: dict[Hashable, int] = {}
    for line, raw in items:
        try:
            item = parse(raw, f'{file}:{line}')
            _refuse_again(identity(item), file, line, lines)
            parsed.append(item)
        except AnnotationError as error:
            if problems is None:
                raise
            bad.append(error.with_traceback(None))
    if problems is not None:
        problems += bad
    if bad and not parsed:
        raise _nothing_usable(file, bad)
    return parsed


def _nothing_usable(file: Path, bad: list[AnnotationError]) -> AnnotationError:
    kinds = {error.kind for error in bad}
    others = [str(error).partition(': got ')[0] for error in bad[1:3]]
    more = f' Likewise {"; ".join(others)}.' if others else ''
    return NothingUsable.at(
        file,
        f'{kinds.pop()} everywhere' if len(kinds) == 1 else 'nothing usable',
        f'got {len(bad)} of {len(bad)} annotations that are bad, expected some that '
        'can be read; restore the file, or empty it if its image has no objects. The '
        f'first is {bad[0]}{more}',
    )


def _refuse_again(
    item: Hashable, file: Path, line: int, lines: dict[Hashable, int]
) -> None:
    if item in lines:
        raise AnnotationError.at(
            f'{file}:{line}',
            'duplicate',
            f'got the object of line {lines[item]} again, same class and box, expected '
            'it once; delete one of them.',
        )
    lines[item] = line


def finite_number(
    field: str, place: str, repair: str = 'correct or delete the line'
) -> float:
    """The number that a field of an annotation holds.

    Args:
        field: decimal digits, with white space around them or without.
        place: ``file:line: field``, for the message.
        repair: the message's last words.

    Raises:
        AnnotationError: if it is text, infinite or not a number.
    """
    text = field.strip()
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise AnnotationError.at(
            place,
            'no finite number',
            f'got {text[:40]!r}, expected decimal digits; {repair}.',
        )
    return value
