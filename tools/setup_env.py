"""Sets up the environment, then runs its interpreter with the given arguments.

    python3 tools/setup_env.py              # set up only
    python3 tools/setup_env.py -m pytest    # set up if needed, then run pytest in it

Needs nothing but the standard library. See the Makefile for the meaning of PYTHON.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / 'requirements'
VENV = ROOT / '.venv'
STAMP = 'aerialkd-setup.json'
MMCV = 'onedl-mmcv'
ALIVE_EVERY = 30  # seconds between two lines of a long build
MINIMUM_TORCH = (2, 6)


class SetupError(Exception):
    """Something that the user has to fix; the message says how."""


def main(arguments: list[str]) -> int:
    """Sets up, then replaces this process by the environment's interpreter."""
    try:
        check_interpreter()
        python = choose_environment()
        if not is_done(python):
            install(python)
        elif not arguments:
            say(f'{shown(python)} is set up (make distclean starts anew)')
    except SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    if arguments:
        os.chdir(ROOT)
        os.execv(str(python), [str(python), *arguments])  # noqa: S606
    return 0


# --- which environment ---------------------------------------------------------------


def check_interpreter() -> None:
    """Stops on a Python for which the tested releases cannot be installed."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        raise SetupError(
            f'Python 3.10 to 3.13 is needed, {sys.executable} is '
            f'{sys.version.split()[0]}. Fix: apt-get install python3 python3-venv '
            '(Debian 12 or later), or name another one: make PYTHON=/path/to/python3.11'
        )


def choose_environment() -> Path:
    """Returns the interpreter of the environment to use; creates ``.venv`` if needed."""
    has_torch = suitable(torch_here())
    if has_torch and is_environment():
        return Path(sys.executable)
    python = VENV / 'bin' / 'python'
    if not works(python):
        create_venv(sees_system=has_torch)
    return python


def is_environment() -> bool:
    """Whether this interpreter belongs to a virtual or conda environment."""
    return sys.prefix != sys.base_prefix or (Path(sys.prefix) / 'conda-meta').is_dir()


def create_venv(sees_system: bool) -> None:
    """Creates ``.venv``, over what an interrupted attempt may have left."""
    if importlib.util.find_spec('ensurepip') is None:
        raise SetupError(
            'Python cannot create virtual environments (ensurepip is missing). '
            'Fix: apt-get install python3-venv'
        )
    version = torch_here()
    if version and not sees_system:
        say(f'torch {version} of {sys.executable} is too old and left alone')
    note = f', on top of {sys.prefix} for its torch' if sees_system else ''
    say(f'creating {shown(VENV)} with Python {sys.version.split()[0]}{note}')
    options = ['--system-site-packages'] if sees_system else []
    run([sys.executable, '-m', 'venv', '--clear', *options, str(VENV)])


def works(python: Path) -> bool:
    """Whether an interpreter exists and has pip."""
    if not python.exists():
        return False
    command = [str(python), '-c', 'import pip']
    return subprocess.run(command, capture_output=True).returncode == 0


def torch_here() -> str:
    """The version of torch beside the running interpreter, '' without one."""
    try:
        return metadata.version('torch')
    except metadata.PackageNotFoundError:
        return ''


def torch_of(python: Path) -> str:
    """The version of torch beside another interpreter, '' without one."""
    code = "from importlib.metadata import version; print(version('torch'))"
    result = subprocess.run([str(python), '-c', code], capture_output=True, text=True)
    return result.stdout.strip()


def suitable(torch_version: str) -> bool:
    """Whether a torch is recent enough to be kept."""
    numbers = tuple(int(part) for part in re.findall(r'\d+', torch_version)[:2])
    return numbers >= MINIMUM_TORCH


# --- what is done already ------------------------------------------------------------


def stamp_of(python: Path) -> Path:
    """The file that is written once everything is installed and works."""
    return python.parent.parent / STAMP


def state(python: Path) -> dict[str, str]:
    """What the installation depends on; another state means: install again."""
    files = [*sorted(REQUIREMENTS.glob('*.txt')), ROOT / 'setup.py']
    content = b'\0'.join(path.read_bytes() for path in files)
    return {
        'requirements': hashlib.sha256(content).hexdigest(),
        'torch': torch_of(python),
        'checkout': str(ROOT),
        'cuda': os.environ.get('FORCE_CUDA', ''),
    }


def is_done(python: Path) -> bool:
    """Whether this very state was installed completely."""
    try:
        return bool(json.loads(stamp_of(python).read_text()) == state(python))
    except (OSError, ValueError):
        return False


# --- installing ----------------------------------------------------------------------


def install(python: Path) -> None:
    """Installs everything, torch first, and checks the result.

    The stamp is written last: an interrupted installation is taken up again by the
    next call, where pip skips what is complete.
    """
    stamp_of(python).unlink(missing_ok=True)
    start = time.monotonic()
    install_files(python, 'build')
    version = torch_of(python)
    if suitable(version):
        say(f'torch {version} is there and kept')
    else:
        say('installing torch')
        pip(python, '-r', str(REQUIREMENTS / 'torch.txt'))
    # Before the OpenMMLab packages, so that a problem shows before the long build.
    install_files(python, 'runtime', 'onnx', 'dev')
    install_mmcv(python)
    say('installing the other OpenMMLab packages and aerialkd')
    local = ('--no-deps', '--no-build-isolation')
    pip(python, *local, '-r', str(REQUIREMENTS / 'openmmlab.txt'))
    pip(python, *local, '-e', str(ROOT))
    check(python)
    stamp_of(python).write_text(json.dumps(state(python), indent=2) + '\n')
    say(f'set up in {time.monotonic() - start:.0f} s: {shown(python)}')


def install_files(python: Path, *names: str) -> None:
    """Installs ``requirements/<name>.txt`` in the releases of ``tested.txt``."""
    say(f'installing requirements/{{{",".join(names)}}}.txt')
    options = ['-c', str(REQUIREMENTS / 'tested.txt')]
    for name in names:
        options += ['-r', str(REQUIREMENTS / f'{name}.txt')]
    pip(python, *options)


def install_mmcv(python: Path) -> None:
    """Installs mmcv; builds it where pip's cache has no build that suits torch."""
    requirement = requirement_of(MMCV)
    if has_ops(python):
        return
    say(f'installing {requirement}')
    if is_cached(python, requirement):
        pip(python, '--no-deps', '--no-build-isolation', requirement)
        if has_ops(python):
            return
        say("the build in pip's cache does not suit this torch")
    build_mmcv(python, requirement)


def build_mmcv(python: Path, requirement: str) -> None:
    """Compiles mmcv's operators, showing every 30 s that it is alive."""
    check_compiler()
    jobs = os.environ.get('MAX_JOBS') or str(len(os.sched_getaffinity(0)))
    log = python.parent.parent / 'mmcv-build.log'
    say(
        f'compiling the operators of {requirement} with {jobs} jobs: takes about '
        "11 minutes on 2 cores, the first time only (pip keeps the wheel). "
        f'Log: {shown(log)}'
    )
    options = ['--no-deps', '--no-build-isolation', '--force-reinstall', '--no-cache-dir']
    wheels = python.parent.parent / 'wheels'
    command = [str(python), '-m', 'pip', 'install', '-v', *options, requirement]
    del wheels
    start = time.monotonic()
    with log.open('w') as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'MAX_JOBS': jobs},
        )
        try:
            while wait(process, ALIVE_EVERY) is None:
                say(f'{minutes(time.monotonic() - start)}  {progress(log)}')
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode or not has_ops(python):
        tail = '\n'.join(log.read_text(errors='replace').splitlines()[-30:])
        raise SetupError(f'{tail}\nmmcv was not built; the whole log is {shown(log)}')
    say(f'mmcv built in {minutes(time.monotonic() - start)}')
