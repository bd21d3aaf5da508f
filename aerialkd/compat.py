"""Makes MMDetection, MMRotate and MMRazor work in one process.

The only module that knows about versions. MMRazor's last release (1.0.0) and
MMRotate's H2RBox-v2 expect packages of their time; :func:`adapt` lets them see
those while they are being imported, and puts everything back afterwards.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import re
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aerialkd.errors import EnvironmentProblem

PIP = 'python -m pip install'
# pip builds in an environment of its own, where mmcv's setup.py finds no torch and
# leaves the operators out: pure Python, in seconds.
MMCV = f'{PIP} --no-deps --force-reinstall --no-cache-dir onedl-mmcv==2.3.6'
# Without isolation it finds torch and compiles them; -g0 halves the time.
COMPILE_OPS = (
    f"{PIP} 'setuptools>=80,<82' wheel packaging ninja && "
    f"CFLAGS='-O3 -DNDEBUG -g0' {MMCV} --no-build-isolation"
)
RUNTIME = f'{PIP} -r requirements/runtime.txt'
# The two wheels hold the same files: both have to go before one is installed.
OPENCV = (
    'python -m pip uninstall -y opencv-python opencv-python-headless && '
    f'{PIP} opencv-python-headless==4.12.0.88'
)
TORCHVISION = (
    'install the torchvision that belongs to your torch '
    '(https://pytorch.org/get-started/previous-versions)'
)


@dataclass(frozen=True)
class Needed:
    """A package without which nothing works.

    Attributes:
        module: its import name.
        minimum: the first release that can work, as (major, minor).
        fix: the command that installs the tested release.
        why: what is wrong with releases before ``minimum``.
    """

    module: str
    minimum: tuple[int, int]
    fix: str
    why: str


NEEDED = (
    Needed(
        'torch',
        (2, 6),
        f"{PIP} 'torch>=2.6'",
        'before 2.6 a hostile checkpoint runs code in spite of weights_only=True '
        '(CVE-2025-32434)',
    ),
    Needed('mmengine', (0, 10), f'{PIP} onedl-mmengine==0.10.12', 'it lacks torch 2.6'),
    Needed('mmcv', (2, 0), MMCV, 'mmcv 1 has another interface'),
    Needed(
        'mmdet',
        (3, 0),
        f'{PIP} --no-build-isolation --no-deps onedl-mmdetection==3.5.1',
        'mmdet 2 has another interface',
    ),
    Needed(
        'mmrotate',
        (1, 0),
        f'{PIP} --no-build-isolation --no-deps onedl-mmrotate==1.2.1',
        'mmrotate 0.x has another interface',
    ),
    Needed(
        'mmrazor',
        (1, 0),
        f'{PIP} --no-deps mmrazor==1.0.0',
        'mmrazor 0.x has another interface',
    ),
)

adaptations: list[str] = []
"""What :func:`adapt` changed in this process, one sentence each."""

_lock = threading.RLock()
_adapted = False


def adapt() -> None:
    """Imports and registers everything of mmdet, mmrotate and mmrazor.

    A second call does nothing. A call that failed has restored what it touched
    and may be repeated once the cause is removed.

    Raises:
        EnvironmentProblem: a package is missing, too old or does not import; the
            message ends with the command that fixes it.
    """
    global _adapted
    with _lock:
        if _adapted:
            return
        adaptations.clear()
        for needed in NEEDED:
            if not is_installed(needed.module):
                raise EnvironmentProblem(
                    f'{needed.module} is not installed. Fix: {needed.fix}'
                )
        check_version('torch')
        _import('cv2', OPENCV)
        check_version('mmengine')
        adaptations.append(_steady_step_times())
        check_version('mmcv')
        choose_operators()
        with _without_onedl_notice():
            check_version('mmdet')
            _register('mmdet')
            with _torchvision_for_mmrotate():
                check_version('mmrotate')
                _register('mmrotate')
            with _old_mmcv_for_mmrazor():
                check_version('mmrazor')
            with _no_quantisation_in_mmrazor():
                _register('mmrazor')
        _adapted = True


def _steady_step_times() -> str:
    """Times of steps, and what is left, from a clock that nobody puts back.

    MMEngine takes the time of day: a step in which it is put back takes less than
    nothing, and the mean of all steps with it.
    """
    hook: Any = importlib.import_module('mmengine.hooks.iter_timer_hook')
    hook.time = types.SimpleNamespace(time=time.monotonic)
    return 'IterTimerHook measures steps with a clock that is never put back.'


def is_installed(module: str) -> bool:
    """Whether a top-level module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # in sys.modules as None or without a spec
        return sys.modules.get(module) is not None


def fix_of(module: str) -> str:
    """The command that installs the tested release of a package in ``NEEDED``."""
    return next(needed.fix for needed in NEEDED if needed.module == module)


def check_version(module: str) -> str:
    """Imports one of the packages in ``NEEDED`` and returns its version.

    Raises:
        EnvironmentProblem: it does not import or is too old.
    """
    needed = next(item for item in NEEDED if item.module == module)
    version = str(_import(module, needed.fix).__version__)
    if _release(version) < needed.minimum:
        major, minor = needed.minimum
        raise EnvironmentProblem(
            f'{module} {version} is too old, at least {major}.{minor} is needed: '
            f'{needed.why}. Fix: {needed.fix}'
        )
    return version


def choose_operators() -> None:
    """Decide who computes mmcv's operators, and import them.

    Raises:
        EnvironmentProblem: compiled operators are there but do not load.
    """
    from aerialkd.ops import backends  # needs torch

    replaced = backends.install(COMPILE_OPS, MMCV)
    _import('mmcv.ops', fix_of('mmcv'))
    if replaced:
        adaptations.append(replaced)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r'\d+', version)[:2])


def _import(module: str, fix: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except EnvironmentProblem:
        raise
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition('.')[0]
        if missing == 'imgaug':
            fix = f'{PIP} --no-deps imaug==0.4.3'
        elif missing != module.partition('.')[0]:
            fix = RUNTIME
        raise EnvironmentProblem(
            f'{module} needs {error.name}, which is not installed. Fix: {fix}'
        ) from error
    # Upstream packages stop with AssertionError, RuntimeError or AttributeError
    # when a version does not suit them: all are the same thing to the user.
    except Exception as error:
        raise EnvironmentProblem(
            f'{module} does not import: {type(error).__name__}: {error}. Fix: {fix}'
        ) from error


def _register(package: str) -> None:
    """Imports every module of a package that registers something."""
    fix = fix_of(package)
    for part in ('datasets', 'engine', 'evaluation', 'models', 'visualization'):
        if importlib.util.find_spec(f'{package}.{part}') is not None:
            _import(f'{package}.{part}', fix)


@contextlib.contextmanager
def _torchvision_for_mmrotate() -> Iterator[None]:
    """Lets MMRotate's H2RBox-v2 be imported where torchvision is absent."""
    if is_installed('torchvision'):
        fix = f'{TORCHVISION}, or remove it: pip uninstall torchvision'
        _import('torchvision', fix)
        yield
        return
    package: Any = _Absent('torchvision')
    package.__version__ = '0.0.0'
    package.transforms = _Absent('torchvision.transforms')
    placeholders = {module.__name__: module for module in (package, package.transforms)}
    sys.modules.update(placeholders)
    try:
        yield
    finally:
        # Left in place it would mislead everyone who probes for torchvision.
        for name in placeholders:
            sys.modules.pop(name, None)
    adaptations.append(
        'torchvision is absent: mmrotate was imported with a placeholder '
        '(only H2RBox-v2 cannot be used)'
    )


class _Absent(types.ModuleType):
    """A module that can be imported but not used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # find_spec() raises ValueError for a module without a spec.
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        raise EnvironmentProblem(
            f'{self.__name__}.{name} is needed here, but torchvision is not installed. '
            f'Fix: {TORCHVISION}'
        )


@contextlib.contextmanager
def _old_mmcv_for_mmrazor() -> Iterator[None]:
    """Hides an mmcv above 2.1.0 from the assertion in mmrazor/__init__.py."""
    mmcv: Any = importlib.import_module('mmcv')
    version = mmcv.__version__
    if 'mmrazor' in sys.modules or _release(version) <= (2, 1):
        yield
        return
    mmcv.__version__ = '2.1.0'
    try:
        yield
    finally:
        mmcv.__version__ = version
    adaptations.append(f'mmrazor saw mmcv 2.1.0 instead of {version} during its import')


@contextlib.contextmanager
def _no_quantisation_in_mmrazor() -> Iterator[None]:
    """Selects MMRazor's branch for torch < 1.13, which has no quantisation.

    The other branch needs parts of ``torch.ao`` that torch 2.1 removed. MMRazor
    decides with ``mmrazor.digit_version(torch.__version__)``.
    """
    mmrazor: Any = importlib.import_module('mmrazor')
    torch_version = str(importlib.import_module('torch').__version__)
    real: Callable[[str], tuple[int, ...]] = mmrazor.digit_version

    def digit_version(version: str) -> tuple[int, ...]:
        return real('1.12.0' if str(version) == torch_version else version)

    mmrazor.digit_version = digit_version
    try:
        yield
    finally:
        # Some modules took the name over with `from mmrazor import digit_version`.
        for name, module in list(sys.modules.items()):
            if not name.startswith('mmrazor'):
                continue
            if getattr(module, 'digit_version', None) is digit_version:
                vars(module)['digit_version'] = real
    adaptations.append(
        'mmrazor was imported with its branch for torch < 1.13 '
        '(only its quantisation cannot be used)'
    )


@contextlib.contextmanager
def _without_onedl_notice() -> Iterator[None]:
    """Drops 'Could not import OneDL' from standard output.

    The maintained forks print it at every import; OneDL is a data platform that
    nobody needs here, and tools must be able to print machine-readable output.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            if not line.startswith('Could not import OneDL'):
                print(line)
