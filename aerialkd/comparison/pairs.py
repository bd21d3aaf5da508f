"""Pairs of teacher and student in configs/, and the methods that distil them."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aerialkd.cli import read_config
from aerialkd.engine.config_files import find_config, is_external
from aerialkd.errors import ConfigError
from aerialkd.visualization.report.comparison import ALONE, TEACHER

CONFIGS = Path('configs')  # in the repository, where the tools work
ALL = 'all'


@dataclass(frozen=True)
class Pair:
    """A teacher, its student and what can be made of them.

    Attributes:
        name: of the file in ``_base_/pairs``.
        teacher: its config.
        student: config of the student alone.
        methods: config by name of the method.
    """

    name: str
    teacher: Path
    student: Path
    methods: dict[str, Path] = field(default_factory=dict)

    @property
    def configs(self) -> dict[str, Path]:
        """By name of the row: the teacher, the student alone, the methods."""
        return {TEACHER: self.teacher, ALONE: self.student, **self.methods}

    def chosen(self, methods: Sequence[str]) -> list[str]:
        """Rows of a comparison: teacher and student alone, then what was asked for.

        Args:
            methods: names, or ``'all'`` alone.

        Raises:
            ConfigError: if there is no such method for the pair.
        """
        unknown = [name for name in methods if name not in (ALL, *self.methods)]
        if unknown:
            raise ConfigError(
                f'--methods: got {", ".join(unknown)}, expected {ALL} or some of '
                f'{", ".join(self.methods) or "none"} for {self.name}.'
            )
        names = self.methods if ALL in methods else dict.fromkeys(methods)
        return [TEACHER, ALONE, *names]


def find_pair(name: str, configs: Path = CONFIGS) -> Pair:
    """Read a pair and look for its methods.

    Those of ``FOLDER_DETECTOR`` lie beside its student, as
    ``configs/FOLDER/METHOD_DETECTOR.py``; those of any other pair are
    ``configs/*/METHOD_PAIR.py``. A file counts if the pair is among its bases.

    Args:
        name: of a file in ``configs/_base_/pairs``.
        configs: the folder.

    Raises:
        ConfigError: if there is no such pair.
    """
    folder = configs / '_base_' / 'pairs'
    file = folder / f'{name}.py'
    if not file.is_file():
        there = ', '.join(sorted(path.stem for path in folder.glob('*.py')))
        raise ConfigError(f'--pair: got {name}, expected one of {there or "none"}.')
    own = [f.name for f in configs.iterdir() if name.startswith(f'{f.name}_')]
    detector = name.removeprefix(f'{own[0]}_') if own else name
    files = configs.glob(f'{own[0] if own else "*"}/*_{detector}.py')
    named = {path.stem.removesuffix(f'_{detector}'): path for path in files}
    return Pair(
        name=name,
        teacher=Path(read_config(file).model.teacher),
        student=_bases(file)[0],
        methods={k: f for k, f in sorted(named.items()) if _descends(f, file)},
    )


def _descends(file: Path, ancestor: Path) -> bool:
    return any(b == ancestor or _descends(b, ancestor) for b in _bases(file))


def _bases(file: Path) -> list[Path]:
    """What a config file inherits from, read without running it."""
    for node in ast.parse(file.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            value = ast.literal_eval(node.value)
            names = [value] if isinstance(value, str) else value
            return [
                find_config(name) or file
                if is_external(name)
                else Path(os.path.normpath(file.parent / name))
                for name in names
            ]
    return []
