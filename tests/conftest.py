"""What every test gets: a fixed seed, few threads; and the real images on request."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import DefaultScope
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

import aerialkd  # noqa: F401 - adapts mmrazor before a test module imports it
from aerialkd.datasets.made import make_data
from tests import formatting  # noqa: F401 - MMEngine lays out configs once
from tests.tool_mains import main_of

REAL_DATA = 'AERIALKD_REAL_DATA'
# What MMEngine keeps for the whole process, as it is before the first test.
GLOBALS = {
    kind: kind._instance_dict.copy() for kind in (DefaultScope, MessageHub, Visualizer)
}

# Tests are many small tensors: more threads cost more than they give, and on a busy
# machine they wait for each other, ten times as long as they work. Also for the tools
# that tests run. Another number is for looking whether a result hangs on it.
THREADS = os.environ.get('AERIALKD_TEST_THREADS', '1')
torch.set_num_threads(int(THREADS))
os.environ['OMP_NUM_THREADS'] = THREADS


@pytest.fixture(autouse=True)
def seed() -> int:
    """The same random numbers in every test, whatever ran before it."""
    value = 0
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - mmdet's transforms use the global generator
    torch.manual_seed(value)
    return value


@pytest.fixture(autouse=True)
def process_globals() -> Iterator[None]:
    """No test inherits scope, class names or messages of another test's runner.

    Fixtures of a module run before this one: what was there at the start is restored,
    not what was there before the test.
    """
    yield
    restore_globals()


def restore_globals() -> None:
    """What MMEngine keeps for the process, as in one that begins."""
    for kind, instances in GLOBALS.items():
        kind._instance_dict.clear()
        kind._instance_dict.update(instances)


@pytest.fixture(scope='session')
def made_images(tmp_path_factory) -> Path:
    """Eight made images of 64 pixels in VisDrone's layout, six of them to train on."""
    folder = tmp_path_factory.mktemp('data') / 'made'
    return make_data('visdrone', folder, images=8, size=64, progress=False)


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., tuple[str, int]]:
    """Run a tool in this process; returns its last line and its status."""
    # What a run logs of its machine takes a second and a compiler.
    monkeypatch.setattr(Runner, '_log_env', lambda self, env: None)

    def run_tool(tool, *arguments):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        # The logger of the run before writes to what was captured then, and would be
        # that of this run if both begin in one second.
        restore_globals()
        for logger in MMLogger._instance_dict.values():
            for handler in logger.handlers:
                handler.close()
        MMLogger._instance_dict.clear()
        status = 0
        try:
            main_of(tool)()
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr().err
        assert 'Traceback' not in said
        return (said.splitlines() or [''])[-1], status

    return run_tool


@pytest.fixture
def without_processes(monkeypatch) -> None:
    """mmrotate starts four interpreters for its measure: here none."""

    class Serial:
        starmap = staticmethod(lambda f, rows: [f(*row) for row in rows])
        close = staticmethod(lambda: None)

    class Context:
        Pool = staticmethod(lambda _: Serial())

    module = 'mmrotate.evaluation.functional.mean_ap.get_context'
    monkeypatch.setattr(module, lambda _: Context)


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The folder of real aerial images that AERIALKD_REAL_DATA names."""
    folder = os.environ.get(REAL_DATA)
    if not folder:
        pytest.skip(f'no real images: set {REAL_DATA} to the folder that holds them')
    if not Path(folder).is_dir():
        pytest.fail(f'{REAL_DATA}={folder} is not a folder')
    return Path(folder)
