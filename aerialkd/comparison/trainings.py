"""The trainings of a demo or a comparison: seeds, work dirs, what is left to do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from aerialkd.cli import read_config
from aerialkd.engine.noted_inputs import changed_inputs, read_inputs
from aerialkd.engine.stored_settings import (
    differences,
    listed,
    parse_settings,
    settings_of,
)
from aerialkd.engine.termination import (
    HANDED_ON,
    SIGNALS,
    Termination,
    exit_status,
)
from aerialkd.errors import AerialKDError, ConfigError
from aerialkd.loading import file_of, read_checkpoint
from aerialkd.locks import FolderLock

TOOLS = Path(__file__).parents[2] / 'tools'
# What tools/make_demo_data.py is told, by the folder that demo configs name.
MADE: dict[str, dict[str, Any]] = {
    'work_dirs/demo/data': dict(layout='visdrone', images=1000, size=192, seed=0),
    'work_dirs/demo_rotated/data': dict(layout='dota', images=1000, size=128, seed=0),
}


class ToolError(AerialKDError, RuntimeError):
    """A tool that was run in a process of its own and failed there."""


@contextlib.contextmanager
def said_to_go_on() -> Iterator[None]:
    """Say of a command that a signal ends what comes of giving it again."""
    try:
        yield
    except SystemExit as ended:
        if ended.code in [exit_status(number) for number in SIGNALS]:
            print('interrupted; the same command goes on from here', file=sys.stderr)
            sys.exit(ended.code)
        raise


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
        ConfigError: if the work dir holds a training of another config, or one whose
            teacher or data are no longer those that are here.
    """
    check_kept([(config, cfg)])
    return last_checkpoint(cfg).is_file()


def check_kept(
    trainings: Sequence[tuple[str | Path, Config]], teachers_come: bool = False
) -> None:
    """Make sure that what work dirs hold is what would be trained there now.

    Args:
        trainings: files and configs of :func:`seeded`.
        teachers_come: whether a teacher that is not here is going to be trained.

    Raises:
        ConfigError: if work dirs hold trainings of other configs, teachers or data.
    """
    problems: dict[str, str] = {}
    for config, cfg in trainings:
        problem = _problem_of(config, cfg, teachers_come)
        if problem:
            problems[cfg.work_dir] = f'{cfg.work_dir}: got a training {problem}'
    if problems:
        raise ConfigError(
            f'{". ".join(problems.values())}; move it away, or remove it: rm -r '
            f'{" ".join(problems)}'
        )


def _problem_of(config: str | Path, cfg: Config, teachers_come: bool) -> str:
    """In which way what is kept is none of a config; '' if it is."""
    work_dir = Path(cfg.work_dir)
    before = work_dir / Path(config).name
    if before.is_file():
        # Stricter than --resume: all of a comparison take equally many steps.
        stored = parse_settings(
            before.read_text(encoding='utf-8', errors='replace'), str(before)
        )
        found = differences(stored, settings_of(cfg))
        if found and differences(_of_checkpoint(cfg), settings_of(cfg)):
            return f'of another config, expected that of {config}: {listed(found)}'
    if not any(work_dir.glob('*.pth')):
        return ''
    teacher = cfg.model.get('teacher_ckpt')
    if teachers_come and teacher and not file_of(teacher).is_file():
        if read_inputs(work_dir) is not None:
            return f'by a teacher that is going to be trained anew, {teacher}'
    elif changed := changed_inputs(cfg):
        return f'from other inputs than those that are here: {listed(changed)}'
    return ''


def _of_checkpoint(cfg: Config) -> dict[str, Any]:
    """Settings that a finished training's checkpoint states; empty without.

    An evaluation with 0.1.0 put its own config in the place of the training's.
    """
    try:
        content = read_checkpoint(last_checkpoint(cfg))
        return parse_settings(content['meta']['cfg'], cfg.work_dir)
    except (AerialKDError, KeyError, TypeError, AttributeError):
        return {}


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
    # A training may outlive whoever started it, and takes the lock itself.
    with FolderLock(cfg.work_dir, way_out='start it again later'):
        pass
    where = ['--work-dir', cfg.work_dir]
    run_tool('train.py', config, '--resume', *where, *options, output=output)


def make_data(cfg: Config, output: int | None = None) -> None:
    """Make the images that a demo config is trained on, unless they are there."""
    root = cfg.test_dataloader.dataset.get('data_root') or ''
    made = MADE.get(os.path.normpath(root))
    if made:
        words = [word for key, value in made.items() for word in (f'--{key}', value)]
        run_tool(
            'make_demo_data.py', '--out', os.path.normpath(root), *words, output=output
        )


def run_tool(*command: object, output: int | None = None) -> None:
    """Run a tool in a process of its own; a signal ends both, the tool first.

    Args:
        command: the tool's name and its arguments.
        output: file descriptor for what it prints; ours by default.

    Raises:
        ToolError: if it fails.
    """
    words = [str(word) for word in command]
    arguments = [sys.executable, str(TOOLS / words[0]), *words[1:]]
    started: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int) -> None:
        for process in started:
            process.send_signal(number)  # upon which a training keeps its state

    def end(_: int) -> None:
        for process in started:
            process.kill()

    ending = Termination(hand_on, end)
    ending.listen()
    try:
        environment = {**os.environ, HANDED_ON: '1'}
        process = subprocess.Popen(arguments, stdout=output, env=environment)  # noqa: S603
        started.append(process)
        if ending.number:  # before there was a process to hand it on to
            hand_on(ending.number)
        status = process.wait()
    finally:
        ending.stop_listening()
    if ending.number:
        sys.exit(exit_status(ending.number))
    if status:
        raise ToolError(
            f'tools/{words[0]} {words[1]} failed with status {status}; what it said '
            'stands above.'
        )
