"""What a measurement was made on, in words."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def machine(device: str, threads: int) -> str:
    """``'NVIDIA H200'`` or ``'Intel(R) Xeon(R) CPU @ 2.20GHz, 2 threads'``.

    Args:
        device: ``'cpu'``, ``'cuda'``, ``'cuda:0'``, ...
        threads: of torch.
    """
    if device.startswith('cuda') and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    return f'{_cpu()}, {threads} thread{"s" if threads > 1 else ""}'


def _cpu() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    names = (line.partition(':')[2] for line in lines if line.startswith('model name'))
    return ' '.join(next(names, '').split()) or platform.machine()
