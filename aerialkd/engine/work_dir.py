"""The folder that a config's training gets: stated by its file, or named after it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import load

from aerialkd.errors import ConfigError

KEY = 'work_dir'
_OWN_SCOPE = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.comprehension)
_TEMPLATE = re.compile(r'\{\{.*?\}\}')  # MMEngine's, which YAML and JSON do not know


def work_dir_of(cfg: Config, file: str | Path) -> str:
    """The work dir of a config that was read from a file.

    What the file itself does not set it inherits, from the student of a distillation
    for instance, whose training must not be written over: it becomes a folder beside,
    with the name of the file, in ``work_dirs`` where nothing is inherited.

    Args:
        cfg: as :meth:`mmengine.config.Config.fromfile` returns it.
        file: where it was read from.

    Example:
        >>> cfg = Config(dict(work_dir='runs/student'))
        >>> work_dir_of(cfg, 'configs/demo/pkd_retinanet.py')
        'runs/pkd_retinanet'
    """
    stated = cfg.get(KEY)
    if stated is None:
        return str(Path('work_dirs') / Path(file).stem)
    if sets_work_dir(file):
        return str(stated)
    return str(Path(stated).parent / Path(file).stem)


def check_writable(folder: str | Path) -> None:
    """Make sure, before anything is built, that a work dir can be made and written.

    Raises:
        ConfigError: if it lies below a file, or must not be written.
    """
    there = next(f for f in (Path(folder), *Path(folder).absolute().parents) if _is(f))
    problem = 'is no folder' if not there.is_dir() else 'must not be written'
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(
            f'{folder}: cannot be the work dir: {there} {problem}; choose another '
            '--work-dir.'
        )


def _is(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # within a folder that must not be read
        return False


def sets_work_dir(file: str | Path) -> bool:
    """Whether a config file itself, not one that it inherits from, sets ``work_dir``.

    An assignment counts wherever it stands in the module, under a condition too.
    """
    file = Path(file)
    text = file.read_text(encoding='utf-8')
    if file.suffix == '.py':
        return any(map(_is_work_dir, _targets(ast.parse(text))))
    content = load(StringIO(_TEMPLATE.sub('0', text)), file_format=file.suffix[1:])
    return isinstance(content, dict) and KEY in content


def _targets(node: ast.AST) -> Iterator[ast.AST]:
    """What a module stores to, outside functions and classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(getattr(child, 'ctx', None), ast.Store):
            yield child
        if not isinstance(child, _OWN_SCOPE):
            yield from _targets(child)


def _is_work_dir(target: ast.AST) -> bool:
    """``work_dir``, ``_base_.work_dir`` or ``_base_['work_dir']``."""
    if isinstance(target, ast.Name):
        return target.id == KEY
    if isinstance(target, ast.Attribute):
        return target.attr == KEY and ast.unparse(target.value) == '_base_'
    if isinstance(target, ast.Subscript):
        return ast.unparse(target) == f"_base_['{KEY}']"
    return False
