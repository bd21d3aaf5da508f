"""What a comparison trains, in which order, and what comes out of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from aerialkd.comparison.measured import measured
from aerialkd.comparison.pairs import Pair
from aerialkd.comparison.profiles import profile_of, with_profile, with_student_steps
from aerialkd.comparison.results import Result
from aerialkd.comparison.trainings import (
    ToolError,
    check_kept,
    is_finished,
    last_checkpoint,
    make_data,
    seeded,
    train,
)
from aerialkd.errors import ConfigError
from aerialkd.visualization.report.comparison import TEACHER

_STDERR = 2  # for what trainings print: the table alone goes to stdout
Known = Collection[tuple[str, str, int]]


@dataclass(frozen=True, eq=False)
class Job:
    """One training of a comparison.

    Attributes:
        method: name of the row.
        seed: of the training.
        config: its file.
        cfg: the config with its seed, work dir and teacher.
    """

    method: str
    seed: int
    config: Path
    cfg: Config

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end here."""
        return is_finished(self.config, self.cfg)

    @property
    def distils(self) -> bool:
        """Whether it needs a teacher."""
        return 'teacher_ckpt' in self.cfg.model

    def __str__(self) -> str:
        return f'{self.method}, seed {self.seed}'


def jobs_of(pair: Pair, methods: Sequence[str], seeds: int) -> list[Job]:
    """All trainings: every method with seed 0, then with seed 1, ...

    An interrupted comparison has all methods with its first seed.

    Raises:
        ConfigError: if there is no seed.
    """
    if seeds < 1:
        raise ConfigError(f'--seeds: got {seeds}, expected at least 1.')
    return [
        Job(method, seed, pair.configs[method], seeded(pair.configs[method], seed))
        for seed in range(seeds)
        for method in methods
    ]


def jobs_to_do(pair: Pair, jobs: Sequence[Job], known: Known = ()) -> list[Job]:
    """Those that are neither finished here nor known from elsewhere.

    Args:
        pair: of teacher and student.
        jobs: of :func:`jobs_of`.
        known: keys of results, see :attr:`Result.key`.

    Raises:
        ConfigError: if one needs a teacher that was trained elsewhere, or a work dir
            holds a training of another config, teacher or data.
    """
    taught_elsewhere = {
        seed for name, row, seed in known if (name, row) == (pair.name, TEACHER)
    }
    for elsewhere in (False, True):
        chosen = [j for j in jobs if (j.seed in taught_elsewhere) == elsewhere]
        check_kept([(j.config, j.cfg) for j in chosen], teachers_come=not elsewhere)
    finished = [job for job in jobs if job.finished]
    left = [
        job
        for job in jobs
        if job not in finished and (pair.name, job.method, job.seed) not in known
    ]
    for job in left:
        teacher = job.cfg.model.get('teacher_ckpt')
        elsewhere = (pair.name, TEACHER, job.seed) in known
        if job.distils and elsewhere and not Path(teacher).is_file():
            raise ConfigError(
                f'{job}: the teacher of this seed was trained elsewhere; bring its '
                f'checkpoint, {teacher}, or leave the methods of this seed to where '
                'it is.'
            )
    return left


def train_all(jobs: Sequence[Job], keep_going: bool = False) -> list[str]:
    """Train one after the other; what was interrupted goes on.

    Args:
        jobs: in their order.
        keep_going: whether the others are trained if one fails.

    Returns:
        What failed.

    Raises:
        ToolError: if a training fails and ``keep_going`` is not set.
    """
    failed: list[str] = []
    if jobs:
        make_data(jobs[0].cfg, _STDERR)
    for number, job in enumerate(jobs, 1):
        _say(f'[{number}/{len(jobs)}] {job}: {job.cfg.work_dir}')
        if job.distils and failed and not Path(job.cfg.model.teacher_ckpt).is_file():
            failed.append(f'{job}: has no teacher, {job.cfg.model.teacher_ckpt}')
            continue
        try:
            train(job.config, job.cfg, _STDERR)
        except ToolError as error:
            if not keep_going:
                raise
            failed.append(f'{job}: {error}')
    return failed


def results_of(pair: Pair, jobs: Sequence[Job], profile: bool) -> list[Result]:
    """Results of the finished ones, with what a step of each method costs.

    Args:
        pair: of teacher and student.
        jobs: of :func:`jobs_of`.
        profile: whether steps that were not profiled before are, now.
    """
    results, profiles = [], {}
    done = [job for job in jobs if job.finished]
    for job in done:
        _say(f'{job}: {last_checkpoint(job.cfg)}')
        results.append(measured(pair.name, job.method, job.cfg))
    for job in done:
        if job.distils and job.method not in profiles:
            _say(f'{job.method}: a training step')
            kept = profile_of(job.config, job.cfg, profile, _STDERR)
            profiles[job.method] = kept
    results = [
        with_profile(r, kept) if (kept := profiles.get(r.method)) else r
        for r in results
    ]
    return with_student_steps(results, {job.method: job.cfg for job in done})


def work_dirs(jobs: Sequence[Job]) -> list[str]:
    """Folders of the finished ones."""
    return [os.path.normpath(job.cfg.work_dir) for job in jobs if job.finished]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
