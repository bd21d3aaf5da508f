"""Training logs of MMEngine: losses, validations and times, resumed runs joined."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aerialkd.evaluation.metric_names import current_names

_STAMP = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - mmengine', re.MULTILINE)
_NO_MEASURE = {'epoch', 'iter', 'step', 'time', 'data_time', 'memory'}


@dataclass
class TrainingLog:
    """What a work dir says about its training.

    Attributes:
        losses: points (iteration, value) by the name of the loss.
        validations: (epoch or iteration, measures) of each validation.
        by_epoch: whether validations are counted in epochs.
        sessions: start and end of each start of the training.
        environment: versions as the last session logged them; '' if it did not.
        folders: of the sessions, oldest first.
    """

    losses: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    validations: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    by_epoch: bool = True
    sessions: list[tuple[datetime, datetime]] = field(default_factory=list)
    environment: str = ''
    folders: list[Path] = field(default_factory=list)

    @property
    def minutes(self) -> float:
        """Time of all sessions together."""
        return sum((end - start).total_seconds() / 60 for start, end in self.sessions)


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
    rows = []
    for line in scalars.read_text(encoding='utf-8').splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and 'step' in row:
            rows.append(row)
    return rows


def _read_times(log: TrainingLog, folder: Path) -> None:
    file = folder / f'{folder.name}.log'
    if not file.is_file():
        return
    text = file.read_text(encoding='utf-8', errors='replace')
    stamps = _STAMP.findall(text)
    if stamps:
        start, end = (
            datetime.strptime(s, '%Y/%m/%d %H:%M:%S') for s in (stamps[0], stamps[-1])
        )
        log.sessions.append((start, end))
    _, _, block = text.partition('System environment:')
    lines = block.partition('-' * 60)[0].splitlines()
    kept = [line for line in lines if line.strip() and 'Build settings' not in line]
    log.environment = '\n'.join(kept)
