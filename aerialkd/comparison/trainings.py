"""The trainings of a demo or a comparison: seeds, work dirs, what is left to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from aerialkd.cli import read_config
from aerialkd.engine.stored_settings import (
    differences,
    listed,
    parse_settings,
    settings_of,
)
from aerialkd.engine.termination import EXIT_STATUS
from aerialkd.errors import AerialKDError, ConfigError

TOOLS = Path(__file__).parents[2] / 'tools'
# What tools/make_demo_data.py is told, by the folder that demo configs name.
MADE: dict[str, dict[str, Any]] = {
    'work_dirs/demo/data': dict(layout='visdrone', images=1000, size=192, seed=0),
    'work_dirs/demo_rotated/data': dict(layout='dota', images=1000, size=128, seed=0),
}
_LOCK = '.training.lock'


class ToolError(AerialKDError, RuntimeError):
    """A tool that was run in a process of its own and failed there."""


def seeded(config: str | Path, seed: int) -> Config:
    """A config with a seed, that seed's work dir and the teacher of the same seed.

    Seed 0 has the config's own work dir, ``FOLDER/NAME``, others
    ``FOLDER/seed_K/NAME``.
    """
    cfg, name = read_config(config), Path(config).stem
    folder = Path(cfg.work_dir).parent
    cfg.work_dir = str(folder / (f'seed_{seed}' if seed else '.') / name)
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    if 'teacher_ckpt' in cfg.model:
        cfg.model.teacher_ckpt = str(last_checkpoint(seeded(cfg.model.teacher, seed)))
    return cfg


def last_checkpoint(cfg: Config) -> Path:
    """The checkpoint that a finished training leaves."""
    return Path(cfg.work_dir) / f'epoch_{cfg.train_cfg.max_epochs}.pth'


def is_finished(config: str | Path, cfg: Config) -> bool:
    """Whether a config of :func:`seeded` was trained to its end.

    Raises:
        ConfigError: if the work dir holds a training of another config.
    """
    work_dir = Path(cfg.work_dir)
    before = work_dir / Path(config).name
    if before.is_file():
        # Stricter than --resume: all of a comparison take equally many steps.
        stored = parse_settings(
            before.read_text(encoding='utf-8', errors='replace'), str(before)
        )
        found = differences(stored, settings_of(cfg))
        if found:
            raise ConfigError(
                f'{work_dir}: got a training of another config, expected that of '
                f'{config}: {listed(found)}; move it away, or remove it: rm -r '
                f'{work_dir}'
            )
    return last_checkpoint(cfg).is_file()


def train(config: str | Path, cfg: Config, output: int | None = None) -> None:
    """Train a config of :func:`seeded`, or what is left of it.

    Args:
        config: its file.
        cfg: what :func:`seeded` made of it.
        output: file descriptor for what the training prints; ours by default.

    Raises:
        ConfigError: if the work dir holds a training of another config, or one that is
            running.
        ToolError: if the training fails.
    """
    if is_finished(config, cfg):
        print(f'{Path(config).stem}: already trained, {last_checkpoint(cfg)}')
        return
    options = ['--cfg-options', f'randomness.seed={cfg.randomness.seed}']
    if 'teacher_ckpt' in cfg.model:
        options.append(f'model.teacher_ckpt={cfg.model.teacher_ckpt}')
    where = ['--work-dir', cfg.work_dir]
    with _locked(Path(cfg.work_dir)) as lock:
        command = ('train.py', config, '--resume', *where, *options)
        run_tool(*command, output=output, lock=lock)


def make_data(cfg: Config, output: int | None = None) -> None:
    """Make the images that a demo config is trained on, unless they are there."""
    root = cfg.test_dataloader.dataset.get('data_root') or ''
    made = MADE.get(os.path.normpath(root))
    if made:
        words = [word for key, value in made.items() for word in (f'--{key}', value)]
        run_tool(
            'make_demo_data.py', '--out', os.path.normpath(root), *words, output=output
        )


def run_tool(*command: object, output: int | None = None, lock: int = -1) -> None:
    """Run a tool in a process of its own; SIGTERM ends both, the tool first.

    Args:
        command: the tool's name and its arguments.
        output: file descriptor for what it prints; ours by default.
        lock: file descriptor that it keeps open; none if negative.

    Raises:
        ToolError: if it fails.
    """
    words = [str(word) for word in command]
    arguments = [sys.executable, str(TOOLS / words[0]), *words[1:]]
    fds = [lock] if lock >= 0 else []
    process = subprocess.Popen(arguments, stdout=output, pass_fds=fds)  # noqa: S603
    told: list[int] = []

    def hand_on(number: int, _: Any) -> None:
        told.append(number)
        process.terminate()  # upon which a training keeps its state

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        status = process.wait()
    except KeyboardInterrupt:  # which the process was sent, too
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if told:
        sys.exit(EXIT_STATUS)
    if status:
        raise ToolError(
            f'tools/{words[0]} {words[1]} failed with status {status}; what it said '
            'stands above.'
        )


@contextlib.contextmanager
def _locked(work_dir: Path) -> Iterator[int]:
    """A lock on a work dir, as long as a process has it open.

    A training may outlive whoever started it: a second one would write over its files.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    with (work_dir / _LOCK).open('a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f'{work_dir}: is being trained by another process; wait for it.'
            ) from None
        yield file.fileno()
