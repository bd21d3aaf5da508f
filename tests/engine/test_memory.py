"""Freed memory stays with the process."""

import ctypes
import os
import subprocess
import sys

import pytest
import torch

from aerialkd.engine import keep_freed_memory, memory
from aerialkd.engine.memory import peak_memory, restart_peak_memory

COUNT = """
import resource, runpy
if {keep}:
    assert runpy.run_path({path!r})['keep_freed_memory']()
for repeat in range(6):
    if repeat == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b'x' * 2**28
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: bool) -> int:
    """Page faults of five blocks of 256 MiB, one after the other, behind a first."""
    script = COUNT.format(keep=keep, path=memory.__file__)
    printed = subprocess.run([sys.executable, '-c', script], stdout=-1, check=True)
    return int(printed.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'mallopt'), reason='not glibc')
def test_a_large_block_is_used_again():
    assert page_faults(keep=True) < page_faults(keep=False) / 10


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(ctypes, 'CDLL', lambda _: object())
    assert keep_freed_memory() is False


@pytest.mark.skipif(
    not os.access('/proc/self/clear_refs', os.W_OK), reason='no peak to restart here'
)
def test_the_peak_is_that_since_its_restart():
    restart_peak_memory()
    before = peak_memory()
    block = torch.ones(16 * 2**20)  # 64 MiB
    del block
    assert peak_memory() - before == pytest.approx(64 * 2**20, rel=0.1)
    restart_peak_memory()
    assert peak_memory() - before < 8 * 2**20
