"""Who is who: teacher, student alone, distilled; which runs may be compared."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialkd.engine import model_cfg, student_model_cfg
from aerialkd.engine.evaluated import EvaluatedRun
from aerialkd.errors import ConfigError
from aerialkd.loading import file_of
from aerialkd.visualization.report.runs import Run, evaluation_of, plain, read_runs

TEACHER, ALONE, DISTILLED = 'teacher', 'student alone', 'distilled'
_ORDER = (TEACHER, ALONE, DISTILLED, 'detector')
# Colours of Okabe and Ito, told apart with every kind of colour vision.
_FIXED = {TEACHER: '#4d4d4d', ALONE: '#0072b2'}
_OTHERS = ('#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6d1f')
_DASHES = {TEACHER: (5.0, 2.0), ALONE: (2.0, 1.5)}


@dataclass
class Row:
    """Runs of one config that differ in their seeds at most.

    Attributes:
        runs: at least one.
        label: name in tables and legends.
        color: '#rrggbb', the same everywhere.
        dashes: lengths on and off of its lines; () for solid lines.
    """

    runs: list[Run]
    label: str
    color: str = '#000000'
    dashes: tuple[float, ...] = ()

    @property
    def role(self) -> str:
        """Of its runs."""
        return self.runs[0].role

    @property
    def evaluation(self) -> EvaluatedRun:
        """Boxes and measures of :attr:`first`.

        Raises:
            ConfigError: if no run of the row was evaluated.
        """
        if self.first.evaluated is None:
            raise ConfigError(f'{self.label}: was not evaluated.')
        return self.first.evaluated

    @property
    def first(self) -> Run:
        """The run that stands for the others in pictures: an evaluated one."""
        return next((run for run in self.runs if run.evaluated), self.runs[0])


@dataclass
class Comparison:
    """Rows with the same classes and the same test data.

    Attributes:
        title: the data set.
        rows: teachers, students alone, distilled students, others.
    """

    title: str
    rows: list[Row]

    def of_role(self, role: str) -> Row | None:
        """The first row of a role."""
        return next((row for row in self.rows if row.role == role), None)

    @property
    def baseline(self) -> Row | None:
        """What differences are taken to."""
        return self.of_role(ALONE)

    @property
    def several_alone(self) -> bool:
        """Whether students of several models were trained alone."""
        return sum(row.role == ALONE for row in self.rows) > 1

    def reference_of(self, row: Row) -> Row | None:
        """What a row's difference is taken to: the same student alone, where there is.

        Otherwise the baseline; None for the baseline itself.
        """
        if row.role == DISTILLED:
            model = _student(row.runs[0])
            for other in self.rows:
                if other.role == ALONE and _student(other.runs[0]) == model:
                    return other
        return None if row is self.baseline else self.baseline

    @property
    def evaluated(self) -> list[Row]:
        """Rows with boxes."""
        return [row for row in self.rows if row.first.evaluated]


def compare(runs: Sequence[Run], baseline: str | None = None) -> list[Comparison]:
    """Settle the roles and put together what may be compared.

    Args:
        runs: of one report.
        baseline: name of the run that is the student alone; found by its model
            config otherwise.

    Raises:
        ConfigError: if no run has the name ``baseline``.
    """
    assign_roles(runs, baseline)
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: _ORDER.index(run.role)):
        groups.setdefault(_data_key(run, runs), []).append(run)
    return [Comparison(_title(group[0]), _rows(group)) for group in groups.values()]


def compare_evaluated(
    work_dirs: Sequence[str | Path], device: str | None = None
) -> list[Comparison]:
    """Evaluate the runs in work dirs, unless that was kept there, and compare them.

    Raises:
        ConfigError: if a folder holds no run, or one that cannot be evaluated.
    """
    runs = read_runs([Path(folder) for folder in work_dirs])
    for run in runs:
        print(f'{run.name}: {run.checkpoint or "no checkpoint"}', file=sys.stderr)
        evaluation_of(run, device)
    return compare(runs)


def assign_roles(runs: Sequence[Run], baseline: str | None) -> None:
    """Set ``role`` of each run."""
    if baseline is not None and baseline not in [run.name for run in runs]:
        names = ', '.join(run.name for run in runs)
        raise ConfigError(f'--baseline: got {baseline!r}, expected one of {names}.')
    distilled = [run for run in runs if run.distils]
    students = [_student(run) for run in distilled]
    folders = {_teacher_folder(run) for run in distilled}
    # Known by their networks alone, unless the very teachers are among the runs: with a
    # teacher at another scale, the student may be the same network.
    present = {run.work_dir for run in runs}
    away = [run for run in distilled if _teacher_folder(run) not in present]
    teachers = [text for run in away if (text := _teacher_model(run))]
    for run in runs:
        model = '' if run.distils else _text(run.cfg.model)
        if run.name == baseline:
            run.role = ALONE
        elif run.distils:
            run.role = DISTILLED
        elif run.work_dir in folders:
            run.role = TEACHER
        elif model in students and baseline is None:
            run.role = ALONE
        elif model in teachers:
            run.role = TEACHER


def _student(run: Run) -> str:
    return _text(student_model_cfg(run.cfg))


def _teacher_model(run: Run) -> str:
    try:
        return _text(model_cfg(run.cfg.model.teacher))
    except ConfigError:  # the teacher's config lies on another machine
        return ''


def _teacher_folder(run: Run) -> Path | None:
    checkpoint = run.cfg.model.get('teacher_ckpt')
    return file_of(checkpoint).resolve().parent if checkpoint else None


def _data_key(run: Run, runs: Sequence[Run]) -> str:
    """Class names and test images; as configured unless all runs were evaluated."""
    if all(other.evaluated for other in runs) and run.evaluated:
        images = [Path(image.path).name for image in run.evaluated.images]
        boxes = sum(len(image.gt_boxes) for image in run.evaluated.images)
        return _text([run.evaluated.classes, images, boxes])
    dataset = plain(run.cfg.get('test_dataloader', {}).get('dataset', {}))
    return _text({k: v for k, v in dataset.items() if k != 'pipeline'})


def _title(run: Run) -> str:
    dataset = run.cfg.get('test_dataloader', {}).get('dataset', {})
    kind = str(dataset.get('type', 'test data')).rpartition('.')[2]
    root = dataset.get('data_root') or dataset.get('ann_file') or ''
    return f'{kind} {root}'.strip()


def _rows(runs: Sequence[Run]) -> list[Row]:
    rows: dict[str, Row] = {}
    for run in runs:
        key = _without_seed(run)
        if key in rows:
            rows[key].runs.append(run)
        else:
            rows[key] = Row([run], run.name)
    free = list(_OTHERS)
    taken: set[str] = set()
    for row in rows.values():
        if len(row.runs) > 1:
            folders = {run.work_dir.name for run in row.runs}
            name = folders.pop() if len(folders) == 1 else row.label
            row.label = f'{name}, {len(row.runs)} runs'
        fixed = _FIXED.get(row.role, '')
        if not fixed or fixed in taken:
            free.append(free[0])  # more runs than colours: they repeat
            fixed = free.pop(0)
        row.color, row.dashes = fixed, _DASHES.get(row.role, ())
        taken.add(fixed)
    return list(rows.values())


def _without_seed(run: Run) -> str:
    content = plain(run.cfg.to_dict())
    for key in ('work_dir', 'resume', 'load_from', 'experiment_name', 'launcher'):
        content.pop(key, None)
    (content.get('randomness') or {}).pop('seed', None)
    if run.distils and content['model'].get('teacher_ckpt'):
        # Each seed may have its own teacher, in a work dir of its own.
        model = content['model']
        model['teacher_ckpt'] = file_of(model['teacher_ckpt']).name
    return _text([run.role, content])


def _text(value: Any) -> str:
    return json.dumps(plain(value), sort_keys=True, default=str)
