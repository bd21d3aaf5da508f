"""Sets up the environment, then runs its interpreter with the given arguments.

    python3 tools/setup_env.py              # set up only
    python3 tools/setup_env.py -m pytest    # set up if needed, then run pytest in it

Needs nothing but the standard library. See the Makefile for the meaning of PYTHON and
OPS.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
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
# Distributions that install the same files as ours.
MMCV_RIVALS = ('mmcv', 'mmcv-full', 'mmcv-lite')
UNAIDED = ('--no-deps', '--no-build-isolation')  # see requirements/openmmlab.txt
NOT_COMPILED = 'mmcv was installed without operators'
ALIVE_EVERY = 30  # seconds between two lines of a long build
MINIMUM_TORCH = (2, 6)


class SetupError(Exception):
    """Something that the user has to fix; the message says how."""


def main(arguments: list[str]) -> int:
    """Sets up, then replaces this process by the environment's interpreter."""
    try:
        check_interpreter()
        check_choice()
        python = choose_environment()
        if not is_done(python):
            install(python)
        elif not arguments:
            say(f'{shown(python)} is set up (make distclean starts anew)')
    except SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\ninterrupted; the next call goes on from here', file=sys.stderr)
        return 130
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


def check_choice() -> None:
    """Stops on a value of OPS that means nothing."""
    if ops_choice() not in ('', 'compiled'):
        raise SetupError(
            f'OPS={ops_choice()}: expected OPS=compiled (builds the operators of mmcv, '
            'which takes a C++ compiler), or nothing (no compiler is needed)'
        )


def ops_choice() -> str:
    """What the user wants of mmcv's operators: '' or 'compiled'."""
    return os.environ.get('OPS', '')


def choose_environment() -> Path:
    """The interpreter of the environment to use; creates ``.venv`` if needed."""
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
    return not error_of(python, 'import pip')


def torch_here() -> str:
    """The version of torch beside the running interpreter, '' without one."""
    try:
        return metadata.version('torch')
    except metadata.PackageNotFoundError:
        return ''


def version_of(python: Path, distribution: str) -> str:
    """The version of a distribution beside another interpreter, '' without it."""
    code = f'from importlib.metadata import version; print(version({distribution!r}))'
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
        'torch': version_of(python, 'torch'),
        'checkout': str(ROOT),
        'ops': ops_choice(),
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
    version = version_of(python, 'torch')
    if suitable(version):
        say(f'torch {version} is there and kept')
    else:
        say('installing torch')
        pip(python, '-r', str(REQUIREMENTS / 'torch.txt'))
    # Before the OpenMMLab packages, so that a problem shows before the long build.
    install_files(python, 'runtime', 'onnx', 'dev')
    install_mmcv(python)
    say('installing the other OpenMMLab packages and aerialkd')
    pip(python, *UNAIDED, '-r', str(REQUIREMENTS / 'openmmlab.txt'))
    pip(python, *UNAIDED, '-e', str(ROOT))
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
    """Installs mmcv: pure Python, or with its operators compiled where that is wanted.

    Compiled operators that are there already and load are kept.
    """
    rivals = [name for name in MMCV_RIVALS if version_of(python, name)]
    if rivals:
        names = ' '.join(rivals)
        raise SetupError(
            f'{names} and {MMCV} install the same files, and {names} is in '
            f'{shown(python)}. Fix: {shown(python)} -m pip uninstall -y {names} {MMCV}'
        )
    pip(python, *UNAIDED, requirement_of('onedl-mmengine'))  # mmcv imports it
    requirement = requirement_of(MMCV)
    is_there = version_of(python, MMCV) == requirement.partition('==')[2]
    if ops_choice() == 'compiled':
        compile_mmcv(python, requirement, is_there)
    elif not is_there or ops_problem(python) not in ('', NOT_COMPILED):
        say(f'installing {requirement}, pure Python')
        # Isolated, its setup.py sees no torch and leaves the operators out. pip's cache
        # may hold a wheel of the same name with operators, for another torch.
        options = ['--no-deps', '--no-cache-dir', '--force-reinstall', requirement]
        pip(python, *options, environment=build_constraints())


def build_constraints() -> dict[str, str]:
    """Lets pip's isolated builds use the tested build tools; two names, old and new."""
    tested = str(REQUIREMENTS / 'tested.txt')
    return {'PIP_CONSTRAINT': tested, 'PIP_BUILD_CONSTRAINT': tested}


def compile_mmcv(python: Path, requirement: str, is_there: bool) -> None:
    """Installs mmcv with operators; builds it where no build suits this torch."""
    if is_there and not ops_problem(python):
        return
    if is_cached(python, requirement):
        say(f'installing {requirement} from the cache of pip')
        pip(python, *UNAIDED, '--force-reinstall', requirement)
        problem = ops_problem(python)
        if not problem:
            return
        say(f'this build of mmcv cannot be used: {problem}')
        name = MMCV.replace('-', '_')
        run([str(python), '-m', 'pip', 'cache', 'remove', '--quiet', name])
    build_mmcv(python, requirement)


def build_mmcv(python: Path, requirement: str) -> None:
    """Compiles mmcv's operators, showing every 30 s that it is alive."""
    check_compilers(python)
    jobs = os.environ.get('MAX_JOBS') or str(len(os.sched_getaffinity(0)))
    log = python.parent.parent / 'mmcv-build.log'
    say(
        f'compiling the operators of {requirement}: takes minutes, the first time only '
        f'(pip keeps the wheel); {jobs} jobs, log in {shown(log)}'
    )
    options = ['-v', '--force-reinstall', *UNAIDED]
    command = [str(python), '-m', 'pip', 'install', *options, requirement]
    # The interpreter's flags bring -g: debug information takes half of the time. A
    # CFLAGS of ours would replace them all, -O3 too, so that it has to repeat them.
    flags = os.environ.get('CFLAGS') or sysconfig.get_config_var('CFLAGS') or '-O3'
    start = time.monotonic()
    with log.open('w') as output:
        # A session of its own, so that an interrupt can stop the compilers as well.
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'MAX_JOBS': jobs, 'CFLAGS': f'{flags} -g0'},
            start_new_session=True,
        )
        try:
            while is_running(process, ALIVE_EVERY):
                say(f'  {minutes(time.monotonic() - start)}  {progress(log)}')
        except BaseException:
            os.killpg(process.pid, signal.SIGINT)  # lets pip remove its build folder
            process.wait()
            raise
    if process.returncode or ops_problem(python):
        tail = '\n'.join(log.read_text(errors='replace').splitlines()[-30:])
        raise SetupError(f'{tail}\nmmcv was not built; the whole log is {shown(log)}')
    say(f'mmcv is built, {minutes(time.monotonic() - start)}')


def check_compilers(python: Path) -> None:
    """Stops before a build that cannot succeed."""
    without = 'or do without: make setup'
    if not (os.environ.get('CXX') or shutil.which('g++')):
        raise SetupError(
            f'OPS=compiled needs a C++ compiler. Fix: apt-get install g++, {without}'
        )
    if not (Path(sysconfig.get_path('include')) / 'Python.h').exists():
        raise SetupError(
            f'OPS=compiled needs Python.h. Fix: apt-get install python3-dev, {without}'
        )
    has_nvcc = 'CUDA_HOME' in os.environ or shutil.which('nvcc') is not None
    if wants_cuda(python) and not has_nvcc:
        raise SetupError(
            'OPS=compiled is to serve a GPU, but the CUDA compiler nvcc is not found. '
            "Fix: install the CUDA toolkit of torch's release and set CUDA_HOME, "
            f'{without}'
        )


def wants_cuda(python: Path) -> bool:
    """Whether mmcv's operators are to run on a GPU; mmcv's setup.py asks the same."""
    code = 'import sys, torch; sys.exit(not torch.cuda.is_available())'
    return os.environ.get('FORCE_CUDA') == '1' or not error_of(python, code)


def ops_problem(python: Path) -> str:
    """Why mmcv's operators cannot be used with this torch and device, '' if they can.

    ``NOT_COMPILED`` where mmcv has none.

    Raises:
        SetupError: mmcv fails for a reason that building it anew would not remove.
    """
    code = 'import torch, cv2, mmengine'
    error = error_of(python, code)
    if error:
        raise SetupError(f'`{code}` fails in {shown(python)}: {error}')
    code = "import importlib.util; assert importlib.util.find_spec('mmcv._ext')"
    if error_of(python, code):
        return NOT_COMPILED
    code = 'import torch, mmcv._ext as ext'
    if wants_cuda(python):
        code += (
            "; assert ext.get_compiling_cuda_version() != 'not available', 'no CUDA'"
        )
    return error_of(python, code)


def is_cached(python: Path, requirement: str) -> bool:
    """Whether pip's cache holds a wheel of this release for this Python."""
    name, _, version = requirement.partition('==')
    wheel = f'{name.replace("-", "_")}-{version}-cp{sys.version_info.major}'
    command = [str(python), '-m', 'pip', 'cache', 'list', '--format=abspath']
    listing = subprocess.run(command, capture_output=True, text=True).stdout
    return f'{wheel}{sys.version_info.minor}-' in listing


def requirement_of(name: str) -> str:
    """The line of ``openmmlab.txt`` that pins a distribution."""
    lines = (REQUIREMENTS / 'openmmlab.txt').read_text().splitlines()
    pins = [line.partition('#')[0].strip() for line in lines]
    return next(pin for pin in pins if pin.startswith(f'{name}=='))


def check(python: Path) -> None:
    """Lets doctor look at the result, and shows what it says if something is wrong."""
    command = [str(python), str(ROOT / 'tools' / 'doctor.py')]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise SetupError(f'{result.stdout}\nwhat is installed does not work')


# --- small helpers -------------------------------------------------------------------


def pip(
    python: Path, *arguments: str, environment: dict[str, str] | None = None
) -> None:
    """Runs ``pip install``; pip says itself what went wrong."""
    options = ['--disable-pip-version-check', '--no-input', '--quiet']
    run([str(python), '-m', 'pip', 'install', *options, *arguments], environment)


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs a command that has to succeed, with changes to the environment."""
    variables = {**os.environ, **(environment or {})}
    if subprocess.run(command, env=variables).returncode:
        raise SetupError(f'this command failed, see above: {" ".join(command)}')


def error_of(python: Path, code: str) -> str:
    """The last line that a piece of Python prints when it fails, '' if it runs."""
    command = [str(python), '-c', code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=python.parent)
    if result.returncode == 0:
        return ''
    return (result.stderr.strip() or f'exit status {result.returncode}').splitlines()[
        -1
    ]


def is_running(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits at most ``seconds``; whether the process is still running then."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def progress(log: Path) -> str:
    """What a build log says about how far it is."""
    text = log.read_text(errors='replace')
    counts = re.findall(r'\[(\d+)/(\d+)\]', text)
    if counts:
        return f'{counts[-1][0]} of {counts[-1][1]} files compiled'
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:80] if lines else 'starting'


def minutes(seconds: float) -> str:
    """Formats a duration as m:ss."""
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d} min'


def shown(path: Path) -> str:
    """A path relative to the current folder where that is shorter."""
    return min(os.path.relpath(path), str(path), key=len)


def say(text: str) -> None:
    """Prints one line at once, also into a pipe."""
    print(f'[setup] {text}', flush=True)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
