"""Freed memory stays with the process."""

import ctypes
import subprocess
import sys

import pytest

from aerialkd.engine import keep_freed_memory, memory

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
