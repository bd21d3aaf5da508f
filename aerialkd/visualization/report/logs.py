"""Training logs of MMEngine: losses, validations and times, resumed runs joined."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from aerialkd.evaluation.metric_names import current_names

_STAMP = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - mmengine', re.MULTILINE)
_ADJUSTED, _LONGEST = 60, 86400  # seconds between lines that a good clock may show
_NO_MEASURE = {'epoch', 'iter', 'step', 'time', 'data_time', 'memory'}


@dataclass
class TrainingLog:
    """What a work dir says about its training.

    Attributes:
        losses: points (iteration, value) by the name of the loss.
        validations: (epoch or iteration, measures) of each validation.
        by_epoch: whether validations are counted in epochs.
        sessions: start and end of each start of the training.
        seconds: how long each of them took; None where the clock was put back.
        environment: versions as the last session logged them; '' if it did not.
        folders: of the sessions, oldest first.
    """

    losses: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    validations: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    by_epoch: bool = True
    sessions: list[tuple[datetime, datetime]] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    environment: str = ''
    folders: list[Path] = field(default_factory=list)

    @property
    def minutes(self) -> float | None:
        """Time of all sessions together; None if that of one is not known."""
        known = [seconds for seconds in self.seconds if seconds is not None]
        return sum(known) / 60 if known and len(known) == len(self.seconds) else None


def read_logs(work_dir: Path) -> TrainingLog:
    """Read the logs of all sessions; work that was done twice counts once.

    A session that goes on from an earlier checkpoint replaces what the sessions before
    it logged from there on.
    """
    log = TrainingLog()
    trained: list[dict[str, Any]] = []
    validated: list[dict[str, Any]] = []
    for scalars in sorted(work_dir.glob('*/vis_data/scalars.json')):
        rows = _rows(scalars)
        training = [row for row in rows if 'loss' in row]
        if not rows:
            continue
        if training:
            first = training[0]
            unit = 'epoch' if 'epoch' in first else 'iter'
            log.by_epoch = unit == 'epoch'
            trained = [row for row in trained if row.get(unit, 0) < first[unit]]
            validated = [row for row in validated if row['step'] < first[unit]]
        trained += training
        measured = [row for row in rows if 'loss' not in row]
        # A validation that was due is made up for when a training goes on.
        again = {row['step'] for row in measured}
        validated = [row for row in validated if row['step'] not in again] + measured
        log.folders.append(scalars.parents[1])
        _read_times(log, scalars.parents[1])
    for row in trained:
        for name, value in row.items():
            if 'loss' in name:
                log.losses.setdefault(name, []).append((row['step'], value))
    for row in validated:
        measures = {k: v for k, v in row.items() if k not in _NO_MEASURE}
        log.validations.append((row['step'], current_names(measures)))
    return log


def _rows(scalars: Path) -> list[dict[str, Any]]:
    """Lines of numbers; the last one of an interrupted run may be cut off."""
    rows, bad = [], []
    lines = _text(scalars).splitlines()
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            bad.append(str(number))
    if bad:
        some = ', '.join(bad[:3]) + (', ...' if len(bad) > 3 else '')
        _warn(f'{scalars}: left out lines that are none of a log: {some}.')
    return rows


def _row(line: str) -> dict[str, Any] | None:
    """The numbers of a line; None if it has no step."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    row = {k: v for k, v in content.items() if _is_number(v)}
    counters = [row.get(name, 0) for name in ('step', 'epoch', 'iter')]
    return row if 'step' in row and all(map(math.isfinite, counters)) else None


def _is_number(value: object) -> bool:
    """Losses that are not finite count, they are what somebody looks for."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(file: Path) -> str:
    """What a file holds; nothing if it cannot be read."""
    try:
        return file.read_text(encoding='utf-8', errors='replace')
    except OSError as error:
        _warn(f'{file}: is left out, it cannot be read: {error.strerror}.')
        return ''


def _read_times(log: TrainingLog, folder: Path) -> None:
    file = folder / f'{folder.name}.log'
    if not file.exists():
        return
    text = _text(file)
    stamps = list(_stamps(text))
    if stamps:
        log.sessions.append((stamps[0], stamps[-1]))
        log.seconds.append(_seconds(stamps))
    _, _, block = text.partition('System environment:')
    lines = block.partition('-' * 60)[0].splitlines()
    kept = [line for line in lines if line.strip() and 'Build settings' not in line]
    log.environment = '\n'.join(kept)


def _stamps(text: str) -> Iterator[datetime]:
    for stamp in _STAMP.findall(text):
        with contextlib.suppress(ValueError):  # the 45th of a month
            yield datetime.strptime(stamp, '%Y/%m/%d %H:%M:%S')


def _seconds(stamps: Sequence[datetime]) -> float | None:
    """From the first to the last; None if the clock was put back or far on.

    The stamps are local time: an hour that is there twice in autumn, or is not there in
    spring, is none of the training.
    """
    total, before = 0.0, stamps[0].timestamp()
    for stamp in stamps[1:]:
        now = stamp.timestamp()
        if now < before - _ADJUSTED:
            now = stamp.replace(fold=1).timestamp()
        if not -_ADJUSTED <= now - before <= _LONGEST:
            return None
        total, before = total + max(now - before, 0), max(now, before)
    return total


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
