"""What a training was made from, noted in its work dir, and compared with what is here.

Digests of the teacher, of the training data, of weights that it starts from and of
configs that its own one names by their path. Each session of a training has its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner

from aerialkd.datasets.data_digest import data_digest
from aerialkd.engine.inputs import teacher_digests
from aerialkd.engine.model_cfg import model_cfg
from aerialkd.errors import CheckpointError, ConfigError
from aerialkd.files import sha256_of, write_whole
from aerialkd.loading import file_of

INPUTS = 'inputs.json'  # in a work dir
DATA = 'training data'
Inputs = dict[str, str]
_said: set[Path] = set()


def note_inputs(runner: Runner, teachers: Inputs | None = None) -> None:
    """Write down what a training that begins, or goes on, is made from.

    Every process has to call it. Where a training goes on with other data, this is
    said; what it was made from before stays noted.

    Args:
        runner: about to train.
        teachers: digests of the teachers' files, if they are known already.

    Raises:
        CheckpointError: if a teacher's file is missing.
        ConfigError: if it cannot be written, or a config that is named is missing.
    """
    if teachers is None:
        teachers = teacher_digests(runner.cfg)  # it may wait for the other processes
    if not is_main_process():
        return
    inputs = _without_teachers(runner.cfg) | teachers
    sessions: list[Inputs] = []
    if runner._resume and runner._load_from:
        places = (file_of(runner._load_from).parent, Path(runner.work_dir))
        sessions = next((s for p in places if (s := read_inputs(p))), [])
        if not sessions:  # of a training that noted nothing: it stays unknown
            return
    else:
        inputs |= _start_weights(runner.cfg)
    before = sessions[-1] if sessions else {}
    # Another teacher is a setting of the training, which the checkpoint knows.
    others = {key: value for key, value in inputs.items() if key not in teachers}
    if said := _changes(before, others):
        print_log(
            f'{runner._load_from}: resumed with other inputs: {"; ".join(said)}.',
            logger='current',
            level=logging.WARNING,
        )
    if not sessions or _changes(before, inputs):
        sessions = [*sessions, inputs]
    if sessions != read_inputs(runner.work_dir):
        _write(Path(runner.work_dir) / INPUTS, sessions)


def config_digests(cfg: Config) -> Inputs:
    """Digests of the detectors that a config names by their files.

    Raises:
        ConfigError: if there is no such file.
    """
    model = cfg.get('model')
    named = {}
    for role in ('architecture', 'teacher') if isinstance(model, dict) else ():
        part = model.get(role)
        if isinstance(part, str) or (isinstance(part, dict) and 'cfg_path' in part):
            named[f'model.{role}'] = part
    return {key: _digest_of(model_cfg(part)) for key, part in named.items()}


def read_inputs(work_dir: str | Path) -> list[Inputs] | None:
    """Inputs of each session; None where none are noted that can be read."""
    try:
        text = (Path(work_dir) / INPUTS).read_text(encoding='utf-8')
        return [
            {str(key): str(value) for key, value in session.items()}
            for session in json.loads(text)['sessions']
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def changed_inputs(cfg: Config) -> list[str]:
    """What the training in a work dir was made from that is now another.

    Of what is not here nothing can have changed.

    Args:
        cfg: with the work dir.
    """
    work_dir = Path(cfg.work_dir)
    sessions = read_inputs(work_dir)
    if sessions is None:
        _say_unknown(work_dir)
        return []
    now: Inputs = {}
    for digests in (_without_teachers, teacher_digests, _start_weights):
        with contextlib.suppress(CheckpointError, ConfigError):
            now |= digests(cfg)
    changed = [_changes(session, now) for session in sessions]
    return list(dict.fromkeys(text for texts in changed for text in texts))


def _without_teachers(cfg: Config) -> Inputs:
    return {DATA: data_digest(cfg.get('train_dataloader')), **config_digests(cfg)}


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f'{key}: SHA-256 was {before[key][:12]}, is {now[key][:12]}'
        for key in now
        if before.get(key) and now[key] and before[key] != now[key]
    ]


def _start_weights(cfg: Config) -> Inputs:
    name = str(cfg.get('load_from') or '')
    file = file_of(name)
    return {'load_from': sha256_of(file)} if name and file.is_file() else {}


def _write(file: Path, sessions: list[Inputs]) -> None:
    text = json.dumps({'sessions': sessions}, indent=1) + '\n'
    try:
        write_whole(file, text.encode())
    except OSError as error:
        raise ConfigError(
            f'{file}: cannot be written: {error}; make room, or choose another '
            '--work-dir.'
        ) from error


def _digest_of(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _say_unknown(work_dir: Path) -> None:
    if work_dir not in _said and any(work_dir.glob('*.pth')):
        _said.add(work_dir)
        print(
            f'{work_dir}: nothing notes from which teacher and data it was trained; '
            'taken for trained from those that are here.',
            file=sys.stderr,
            flush=True,
        )
