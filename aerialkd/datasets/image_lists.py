"""Lists of a split's images, one name without ending a line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from aerialkd.datasets.text_fields import read_lines
from aerialkd.errors import AnnotationError


def read_image_list(
    file: Path,
    needed: Mapping[str, tuple[str | Path, Collection[str]]],
    problems: list[AnnotationError] | None = None,
) -> list[str]:
    """The names of a list, in its order.

    Args:
        file: the list.
        needed: what every name must have, such as 'image': the folder of such files,
            and the names that it holds.
        problems: receives the errors of bad lines, which are then left out.

    Raises:
        AnnotationError: if the file is no text or has no line; without ``problems``
            also if a name is there twice or a file is missing.
    """
    wheres: dict[str, str] = {}
    missing = set()
    for where, line in read_lines(file):
        name = line.strip()
        error = _error(name, where, wheres, needed)
        if error and problems is None:
            raise error
        if error and problems is not None:
            problems.append(error)
        if error and name not in wheres:
            missing.add(name)
        wheres.setdefault(name, where)
    if not wheres:
        raise AnnotationError.at(
            file,
            'empty list',
            'got no line, expected a name of an image a line; restore it.',
        )
    return [name for name in wheres if name not in missing]


def _error(
    name: str,
    where: str,
    wheres: Mapping[str, str],
    needed: Mapping[str, tuple[str | Path, Collection[str]]],
) -> AnnotationError | None:
    if name in wheres:
        return AnnotationError.at(
            where,
            'listed twice',
            f'got {name[:40]} here and at {wheres[name]}, expected every image once; '
            'delete a line.',
        )
    for what, (folder, names) in needed.items():
        if name not in names:
            return AnnotationError.at(
                where,
                f'{what} is missing',
                f'got none for {name[:40]!r}, expected one in {folder}; add it or '
                'delete the line.',
            )
    return None
