"""Choice of who computes mmcv's operators: compiled, torchvision or plain torch."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

from torch import Tensor

from aerialkd.errors import ConfigError, EnvironmentProblem
from aerialkd.ops.extension import PLAIN, Operator, SubstituteExtension, build

COMPILED, TORCHVISION, PLAIN_TORCH = 'compiled', 'torchvision', 'plain'
CHOICE = 'AERIALKD_OPS'
"""Environment variable that names a backend, for comparisons and for finding faults."""

EXTENSION = 'mmcv._ext'

_in_use: dict[str, str] = {}


def in_use() -> dict[str, str]:
    """The backend of each operator of :data:`PLAIN`, after :func:`install`."""
    return dict(_in_use)


def install(compile_them: str, do_without: str) -> str:
    """Choose a backend and let mmcv's Python part use it; before ``mmcv.ops``.

    mmcv's compiled operators where they are there; else those of torchvision where it
    loads, and plain torch for the rest.

    Args:
        compile_them: command that compiles mmcv's operators, the remedy for what no
            backend has.
        do_without: command that installs mmcv without them.

    Returns:
        What was put in the place of mmcv's operators, as a sentence; '' if nothing.

    Raises:
        ConfigError: if the environment variable names no backend.
        EnvironmentProblem: if the backend that it names cannot be used, or the compiled
            operators are there but do not load.
    """
    wanted = os.environ.get(CHOICE, '')
    if wanted not in ('', COMPILED, TORCHVISION, PLAIN_TORCH):
        raise ConfigError(
            f"{CHOICE}: got {wanted!r}, expected '{COMPILED}', '{TORCHVISION}' or "
            f"'{PLAIN_TORCH}'."
        )
    _in_use.clear()
    if wanted == COMPILED and not is_compiled():
        raise EnvironmentProblem(
            f'{CHOICE}={COMPILED}: mmcv is installed without its operators. '
            f'Fix: {compile_them}, or unset {CHOICE}'
        )
    if wanted in ('', COMPILED) and is_compiled():
        _load_compiled(f'{do_without}, or compile them anew: {compile_them}')
        _in_use.update(dict.fromkeys(PLAIN, COMPILED))
        return ''
    late = [name for name in ('mmdet.models', 'mmrotate.models') if name in sys.modules]
    # Not after an attempt that failed later on: its substitute was there in time.
    again = isinstance(sys.modules.get(EXTENSION), SubstituteExtension)
    if late and not again and not wanted:
        raise EnvironmentProblem(
            f'{late[0]} was imported before aerialkd, hence without operators of mmcv, '
            f'which is not compiled. Fix: import aerialkd first, or {compile_them}'
        )
    taken = {} if wanted == PLAIN_TORCH else torchvision_operators()
    if wanted == TORCHVISION and not taken:
        raise EnvironmentProblem(
            f'{CHOICE}={TORCHVISION}: torchvision is not installed or does not load '
            'beside this torch. Fix: install the release that belongs to it, or unset '
            f'{CHOICE}'
        )
    extension: Any = build({**PLAIN, **taken}, compile_them)
    sys.modules[EXTENSION] = extension
    importlib.import_module('mmcv')._ext = extension  # type: ignore[attr-defined]
    for name in PLAIN:
        _in_use[name] = TORCHVISION if name in taken else PLAIN_TORCH
    beside = f', {", ".join(taken)} of torchvision' if taken else ''
    return f"mmcv's operators are not compiled: plain torch instead{beside}"


def is_compiled() -> bool:
    """Whether mmcv was installed with its compiled operators."""
    if isinstance(sys.modules.get(EXTENSION), SubstituteExtension):
        return False
    return importlib.util.find_spec(EXTENSION) is not None


def torchvision_operators() -> dict[str, Operator]:
    """Operators of torchvision that do what mmcv's do; {} where it does not load."""
    try:
        # A torchvision that was built for another torch fails in many ways.
        ops: Any = importlib.import_module('torchvision.ops')
        importlib.import_module('torchvision.extension')._assert_has_ops()
    except Exception:
        return {}

    def nms(boxes: Tensor, scores: Tensor, threshold: float, offset: int = 0) -> Tensor:
        if offset:
            return PLAIN['nms'](boxes, scores, threshold, offset)
        # torchvision's sort keeps the order of equal scores, mmcv's does not.
        order = scores.sort(0, descending=True)[1]
        return order[ops.nms(boxes[order], scores[order], threshold)]

    def deform_conv(
        features: Tensor,
        offset: Tensor,
        weight: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
        deform_groups: int,
    ) -> Tensor:
        # torchvision derives the numbers of groups from the shapes.
        return ops.deform_conv2d(
            features, offset, weight, bias, stride, padding, dilation, mask
        )

    return {
        'nms': nms,
        'roi_align': ops.roi_align,
        'deform_conv2d': deform_conv,
        'modulated_deform_conv2d': deform_conv,
    }


def _load_compiled(remedy: str) -> None:
    try:
        importlib.import_module(EXTENSION)
    except ImportError as error:
        raise EnvironmentProblem(
            "mmcv's compiled operators do not load, most likely because they were "
            f'built against another torch ({error}). Fix: {remedy}'
        ) from error
