"""What the C library does with memory that is free again."""

from __future__ import annotations

import ctypes
import re
import resource
from contextlib import suppress
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Keep freed memory for the next allocation; call it before a training on the CPU.

    glibc takes each block above 32 MiB from the system and gives it back when it is
    freed, and the system then clears it anew, page by page. Assigning 500 objects to
    the 49 104 anchors of a 512x512 image uses matrices of 100 MB: without this, a third
    of such a step goes into page faults. The process keeps its peak of memory.

    Returns:
        Whether it is in force: only glibc (Linux) has this setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


def restart_peak_memory() -> None:
    """Let :func:`peak_memory` begin anew, from what the process holds by now.

    Freed memory goes back to the system first, else it would hide what is taken next.
    Where the system has no such thing (Linux has), the peak stays that of the process.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5', encoding='ascii')


def peak_memory() -> int:
    """Largest resident memory since :func:`restart_peak_memory`, in bytes."""
    try:
        status = Path('/proc/self/status').read_text(encoding='ascii')
    except OSError:
        status = ''
    found = re.search(r'^VmHWM:\s+(\d+) kB$', status, re.MULTILINE)
    kib = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib * 1024  # Linux counts KiB in both
