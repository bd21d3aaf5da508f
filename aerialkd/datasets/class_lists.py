"""Lists of class names, as configs and command lines may state them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aerialkd.datasets.text_fields import read_lines
from aerialkd.errors import AnnotationError, ConfigError


def class_list(names: Any, where: str, in_lines: bool = False) -> tuple[str, ...]:
    """The class names that a user states.

    Args:
        names: a list or tuple of names; or, as mmengine has it, the path of a file
            that holds a name a line, also alone in a list. Other text is no list of
            its letters.
        where: the option, for messages.
        in_lines: whether the names stand in lines whose fields are separated by white
            space, so that they can hold none.

    Raises:
        ConfigError: if it is no list, is empty, or has a name twice or no name.
    """
    if isinstance(names, list) and len(names) == 1 and _is_list_file(names[0]):
        names = names[0]
    if isinstance(names, (str, Path)) and Path(names).is_file():
        names = [line.strip() for _, line in read_lines(Path(names))]
    listed = tuple(names) if isinstance(names, (list, tuple)) else ()
    if not listed or not all(isinstance(name, str) for name in listed):
        raise _error(names, where, '')
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise _error(names, where, f' ({", ".join(twice)} is there more than once)')
    for name in listed:
        if name != name.strip() or len(name.splitlines()) != 1:
            raise _error(names, where, f' ({name!r} is none)')
        if in_lines and len(name.split()) > 1:
            joined = '-'.join(name.split())
            raise _error(
                names,
                where,
                f' without white space, which separates the fields of a line ({name!r} '
                f'cannot be in one; write {joined!r}, in the files too)',
            )
    return listed


def _is_list_file(name: Any) -> bool:
    """Whether a command line names a file of classes, not a class."""
    return isinstance(name, str) and bool(Path(name).suffix) and Path(name).is_file()


def unknown_class(
    where: str, got: object, expected: str, thing: str = 'line'
) -> AnnotationError:
    """The error of an annotation whose class is in no list.

    Args:
        where: ``file:line``, or that and a field.
        got: the class.
        expected: the classes that there are.
        thing: what to correct or delete.
    """
    return AnnotationError.at(
        where,
        'unknown class',
        f'got {got!r}, expected {expected}; correct or delete the {thing}, or state '
        'the classes that your data have: classes=(...) of the data set, --classes of '
        'the tools.',
    )


def numbered(classes: Sequence[str], first: int = 1) -> str:
    """Classes behind their numbers, for messages.

    >>> numbered(('insulator', 'tower'))
    '1 (insulator), 2 (tower)'
    """
    return ', '.join(f'{n} ({name})' for n, name in enumerate(classes, first))


def _error(names: Any, where: str, detail: str) -> ConfigError:
    # `('ship')` is no tuple, and `--cfg-options a.classes=ship` no list.
    text = f' (one name: [{names!r}])' if isinstance(names, str) else ''
    return ConfigError(
        f'{where}: got {names!r}, expected a tuple of different names{detail}; '
        f'correct it{text}.'
    )
