"""Tools in this process: an import of the package takes longer than most runs."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable

from tests.processes import ROOT


@functools.cache
def main_of(tool: str) -> Callable[[], None]:
    """The ``main`` of a file in ``tools``."""
    spec = importlib.util.spec_from_file_location(tool, ROOT / 'tools' / f'{tool}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main
