"""What the command-line tools share: config options, runner, one-line errors."""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mmengine.config import Config, DictAction

from aerialkd.engine.config_files import find_config, read_file
from aerialkd.engine.model_cfg import settle_named_models
from aerialkd.engine.processes import join_processes_on_cpu
from aerialkd.engine.termination import EndedBySignal, ending_by_signals
from aerialkd.engine.work_dir import check_writable, work_dir_of
from aerialkd.errors import AerialKDError, ConfigError
from aerialkd.loading.trust import FLAG, set_trust, trusting

# Whose classes refuse arguments by errors of any kind.
_UPSTREAM = {'mmengine', 'mmcv', 'mmdet', 'mmrotate', 'mmrazor', 'torch', 'numpy'}
# Python's own words for arguments that do not fit a signature.
_CALL = re.compile(r'__init__\(\) (got an unexpected|missing|takes|got multiple) ')


def one_line_errors(main: Callable[[], Any]) -> Callable[[], None]:
    """Print the package's errors as one line and exit with status 2.

    So those of a config that names a type or an argument which does not exist, of
    whatever package, or gives a class of MMEngine's family what it does not take, and
    of files that cannot be read or written; Ctrl-C, SIGHUP and SIGTERM with the status
    of the signal. Everything else is a defect and keeps its traceback.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            # What the flag switches on ends with the command.
            with trusting(False), ending_by_signals():
                main()
        except EndedBySignal as ended:
            print(f'{ended.name}: ended before it was done.', file=sys.stderr)
            sys.exit(ended.code)
        except Exception as error:
            if isinstance(error, AerialKDError) or _is_the_users(error):
                text = _message(error)
            elif (built := _refused_by_upstream(error)) is not None:
                kind = type(error).__name__
                text = f'{built} takes other arguments: {kind}: {_message(error)}'
            else:
                raise
            print(f'error: {" ".join(text.split())}', file=sys.stderr)
            sys.exit(2)

    return wrapped


class _Trust(argparse.Action):
    """Switches the opt-in on for as long as the command runs."""

    def __call__(self, *_: Any) -> None:
        set_trust(True)


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """The explicit opt-in to checkpoints that hold more than weights."""
    parser.add_argument(
        FLAG,
        action=_Trust,
        nargs=0,
        help='unpickle in full the checkpoints that are refused otherwise: they can '
        'run any code on this machine. Only for files whose makers you trust so far; '
        'each is named in a warning',
    )


def _is_the_users(error: Exception) -> bool:
    """Whether a registry found no such type, a class no such argument.

    Or the system no such file, or one that must not be read or written.
    """
    if isinstance(error, OSError):
        return error.filename is not None
    if not isinstance(error, (KeyError, TypeError)):
        return False
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    registry = [file for file in files if Path(file).match('mmengine/registry/*.py')]
    of_call = _CALL.search(str(error)) if isinstance(error, TypeError) else None
    return bool(registry) and (registry[-1] == files[-1] or of_call is not None)


def _refused_by_upstream(error: Exception) -> str | None:
    """What was being built from a config when upstream's code could not go on.

    None if nothing was, or a class of the user's or of ours took part: that may be a
    defect, for which one wants the traceback.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    builds = [i for i, frame in enumerate(frames) if _builds(frame)]
    if not builds or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return None
    names = [frame.f_globals.get('__name__', '') for frame in frames[builds[-1] :]]
    if {name.partition('.')[0] for name in names} - _UPSTREAM:
        return None
    kind = frames[builds[-1]].f_locals.get('obj_type')
    return str(getattr(kind, '__name__', kind))


def _builds(frame: FrameType) -> bool:
    return Path(frame.f_code.co_filename).match('mmengine/registry/build_functions.py')


def _message(error: Exception) -> str:
    """The error's own message, also where it comes from another process.

    There a DataLoader has put the traceback in front of it.
    """
    is_key = isinstance(error, KeyError) and error.args
    text = str(error.args[0] if is_key else error)
    if text.startswith('Caught ') and 'Original Traceback' in text:
        kind = type(error)
        text = text.rpartition(f'{kind.__module__}.{kind.__qualname__}: ')[2]
    return text


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that MMDetection's train and test tools have in common."""
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings to override, as key=value; lists as key="[a,b]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    add_trust_argument(parser)
    # torch.distributed.launch passes --local-rank, older versions --local_rank.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Read ``args.config``, apply the overrides, settle launcher and work dir.

    Raises:
        ConfigError: if the file does not exist or cannot be parsed, the launcher cannot
            be used here, or nothing can be written to the work dir.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        _override(cfg, args.cfg_options)
        settle_named_models(cfg)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.work_dir is None:
        cfg.work_dir = work_dir_of(cfg, cfg.filename)
    cfg.work_dir = str(cfg.work_dir)  # work_dir=2026 is a number to DictAction
    check_writable(cfg.work_dir)
    join_processes_on_cpu(cfg)
    return cfg


def _override(cfg: Config, options: dict[str, Any]) -> None:
    for key, value in options.items():
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ConfigError(
                f'--cfg-options {key}={value}: does not fit the config: {error}'
            ) from error


def read_config(path: str | Path) -> Config:
    """Read a config file and settle its work dir, see :func:`work_dir_of`.

    Args:
        path: of the file, or ``package::path`` as in MMEngine.

    Raises:
        ConfigError: if the file does not exist or cannot be parsed.
    """
    file = find_config(path)
    if file is None:
        raise ConfigError(f'{path}: no such config file.')
    cfg = read_file(file, path)
    cfg.work_dir = work_dir_of(cfg, file)
    settle_named_models(cfg, file.parent)
    return cfg
