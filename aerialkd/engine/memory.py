"""What the C library does with memory that is free again."""

from __future__ import annotations

import ctypes

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
