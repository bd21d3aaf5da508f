"""Work dirs as runs: config, checkpoint, logs, evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from aerialkd.cli import read_config
from aerialkd.engine.evaluated import EvaluatedRun, cached_run, evaluated_run
from aerialkd.engine.last_checkpoint import listed_files
from aerialkd.errors import AerialKDError, ConfigError
from aerialkd.visualization.report.logs import TrainingLog, read_logs


@dataclass
class Run:
    """One work dir.

    Attributes:
        name: of the folder, or a longer part of its path where two are alike.
        work_dir: the folder.
        cfg: the config as dumped.
        config_file: where it was dumped.
        log: of the training.
        checkpoint: the last one; None if there is none.
        evaluated: None if it was not evaluated.
        remark: why it was not; ''.
        role: 'teacher', 'student alone', 'distilled' or 'detector'.
    """

    name: str
    work_dir: Path
    cfg: Config
    config_file: Path
    log: TrainingLog
    checkpoint: Path | None
    evaluated: EvaluatedRun | None = None
    remark: str = ''
    role: str = 'detector'

    @property
    def metrics(self) -> dict[str, float]:
        """Of the evaluation; otherwise of the last validation; may be empty."""
        if self.evaluated is not None:
            return self.evaluated.metrics
        return self.log.validations[-1][1] if self.log.validations else {}

    @property
    def distils(self) -> bool:
        """Whether a teacher took part."""
        return 'architecture' in self.cfg.get('model', {})

    @property
    def method(self) -> str:
        """Names of the distillation losses: ``'PKD'``."""
        distiller = self.cfg.model.get('distiller', {})
        losses = distiller.get('distill_losses', {})
        kept = [losses[name] for name in distiller.get('only') or losses]
        types = [str(loss['type']).rpartition('.')[2] for loss in kept]
        return ' + '.join(dict.fromkeys(name.removesuffix('Loss') for name in types))


def read_runs(work_dirs: list[Path]) -> list[Run]:
    """Read every work dir.

    Raises:
        ConfigError: if a folder holds no run.
    """
    folders = list(dict.fromkeys(Path(folder).resolve() for folder in work_dirs))
    if not folders:
        raise ConfigError('report: got no work dir, expected at least one.')
    names = _names(folders)
    return [_read_run(folder, names[folder]) for folder in folders]


def evaluate_run(run: Run, allowed: bool, device: str | None) -> None:
    """Fill in ``run.evaluated``, or say in ``run.remark`` why it stays empty."""
    if run.checkpoint is None:
        run.remark = 'there is no checkpoint'
        return
    try:
        if allowed:
            run.evaluated = evaluated_run(run.cfg, run.checkpoint, run.work_dir, device)
        else:
            run.evaluated = cached_run(run.cfg, run.checkpoint, run.work_dir, device)
            run.remark = '' if run.evaluated else 'evaluation was switched off'
    except (AerialKDError, FileNotFoundError) as error:
        run.remark = ' '.join(str(error).split())


def evaluation_of(run: Run, device: str | None) -> EvaluatedRun:
    """Fill in ``run.evaluated`` and return it.

    Raises:
        ConfigError: if the run cannot be evaluated.
    """
    evaluate_run(run, True, device)
    if run.evaluated is None:
        raise ConfigError(f'{run.work_dir}: not evaluated: {run.remark}')
    return run.evaluated


def _names(folders: list[Path]) -> dict[Path, str]:
    """Last parts of the paths, as many as tell them apart."""
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = {folder: '/'.join(folder.parts[-depth:]) for folder in folders}
        if len(set(names.values())) == len(folders):
            break
    return names


def _read_run(folder: Path, name: str) -> Run:
    if not folder.is_dir():
        raise ConfigError(f'{folder}: no such folder; a work dir is expected.')
    log = read_logs(folder)
    config_file = _config_file(folder, log)
    cfg = read_config(config_file)
    if not isinstance(cfg.get('model'), dict):
        raise ConfigError(f'{config_file}: has no model; the config of a run has one.')
    return Run(name, folder, cfg, config_file, log, _last_checkpoint(folder))


def _config_file(folder: Path, log: TrainingLog) -> Path:
    """The config of the last training session, otherwise one in the folder itself."""
    sessions = [f / 'vis_data' / 'config.py' for f in reversed(log.folders)]
    dumped = sorted(folder.glob('*.py'), key=lambda file: file.stat().st_mtime)
    found = next((f for f in [*sessions, *reversed(dumped)] if f.is_file()), None)
    if found is None:
        raise ConfigError(
            f'{folder}: holds no run: neither a dumped config (NAME.py) nor a log '
            '(TIMESTAMP/vis_data/scalars.json and config.py); name the work dir of a '
            'training.'
        )
    return found


def _last_checkpoint(folder: Path) -> Path | None:
    """What ``last_checkpoint`` names, here or where it was; else the newest epoch."""
    for file in listed_files(folder):
        return file
    numbered = [
        (int(found[1]), file)
        for file in folder.glob('*.pth')
        if (found := re.fullmatch(r'(?:epoch|iter)_(\d+)', file.stem))
    ]
    return max(numbered)[1] if numbered else None


def plain(value: Any) -> Any:
    """A config as plain dicts and lists, so that equal ones compare equal.

    Where its names are looked up is no part of it: only what comes from another file
    states that.
    """
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items() if k != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
