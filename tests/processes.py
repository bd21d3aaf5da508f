"""Processes of their own: Python from its start, or a tool as its user runs it."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Its processes are forked from one that has imported the package and done nothing else:
# they start as fresh ones do, without the seconds that the imports take.
FORKED = multiprocessing.get_context('forkserver')
FORKED.set_forkserver_preload(
    # The first optimizer imports torch._dynamo.
    ['aerialkd', 'mmdet.apis', 'torch._dynamo', 'tests.formatting', 'tests.processes']
)

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


def environments(processes: int) -> list[dict[str, str]]:
    """What torchrun sets for each of so many processes of this machine."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    shared = dict(WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    ranks = map(str, range(processes))
    return [dict(shared, RANK=rank, LOCAL_RANK=rank) for rank in ranks]


class Tool:
    """A tool that runs in a process of its own, with what it has written so far.

    Args:
        name: of the file in ``tools``, without ``.py``.
        arguments: of its command line.
        environment: variables to set before it starts.
    """

    def __init__(
        self, name: str, *arguments: Any, environment: Mapping[str, str] | None = None
    ) -> None:
        self._output = tempfile.TemporaryDirectory()
        self._files = [Path(self._output.name) / stream for stream in ('out', 'err')]
        words = [str(ROOT / 'tools' / f'{name}.py'), *map(str, arguments)]
        self._process = FORKED.Process(
            target=_run, args=(words, self._files, dict(environment or {}))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def finish(self) -> subprocess.CompletedProcess[str]:
        """Wait until it ends; killed by a signal, its status is minus that number."""
        self._process.join()
        out, err = (f.read_text() if f.is_file() else '' for f in self._files)
        self._output.cleanup()
        return subprocess.CompletedProcess([], self._process.exitcode, out, err)


def run_tool(
    name: str, *arguments: Any, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, see :class:`Tool`."""
    return Tool(name, *arguments, environment=environment).finish()


def _run(words: list[str], files: list[Path], environment: dict[str, str]) -> None:
    for file, stream in zip(files, (sys.stdout, sys.stderr), strict=True):
        stream.flush()
        opened = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = words
    runpy.run_path(words[0], run_name='__main__')
