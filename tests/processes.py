"""Runs Python in a process of its own, where imports can be tampered with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Makes packages unimportable, as if they were not installed.
HIDE = """
import sys

class Hidden:
    names = {names!r}

    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

def hide_from_find_spec():
    import importlib.util
    found = importlib.util.find_spec

    def find_spec(name, package=None):
        return None if name in Hidden.names else found(name, package)

    importlib.util.find_spec = find_spec

sys.meta_path.insert(0, Hidden())
hide_from_find_spec()
"""


def run_python(
    code: str, *arguments: str, hide: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter at the root of the checkout."""
    prelude = HIDE.format(names=hide) if hide else ''
    return subprocess.run(
        [sys.executable, '-c', prelude + code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
