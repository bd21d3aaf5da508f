"""Measured results, one a method and seed, and the CSV files that keep them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aerialkd.errors import ConfigError
from aerialkd.visualization.report.comparison import TEACHER

COSTS = (
    *('epochs', 'minutes', 'parameters', 'flops', 'images_per_second'),
    *('step_ms', 'student_ms', 'teacher_ms', 'ratio', 'extra_mib'),
)
ORIGIN = (
    *('data', 'config', 'checkpoint', 'machine', 'torch', 'aerialkd', 'date'),
    *('profiled', 'batch', 'note'),
    *('test_data_sha256', 'train_data_sha256', 'checkpoint_sha256', 'teacher_sha256'),
)
_KEY = ('pair', 'method', 'seed')


@dataclass(frozen=True)
class Result:
    """What is known of one trained model.

    Attributes:
        pair: name of teacher and student.
        method: name of the distillation, ``'teacher'`` or ``'student alone'``.
        seed: of the training.
        measures: by common name, in [0, 1].
        costs: some of :data:`COSTS`: of the training, of the model, and of a training
            step (see :class:`aerialkd.engine.profile.StepProfile`).
        origin: some of :data:`ORIGIN`: how it was measured; ``config`` is a digest of
            what decides a training, ``profiled`` what a step was timed on, and
            ``batch`` with which images, and those with ``sha256`` of what it was made.
    """

    pair: str
    method: str
    seed: int
    measures: dict[str, float]
    costs: dict[str, float] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """What there is one result of."""
        return self.pair, self.method, self.seed


def write_csv(results: Sequence[Result]) -> str:
    """A line each, measures in percent."""
    names = list(dict.fromkeys(name for r in results for name in r.measures))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow([*_KEY, *names, *COSTS, *ORIGIN])
    for result in results:
        measures = [result.measures.get(name) for name in names]
        costs = [result.costs.get(name) for name in COSTS]
        writer.writerow(
            [
                *result.key,
                *('' if value is None else f'{100 * value:.4f}' for value in measures),
                *('' if value is None else f'{value:.10g}' for value in costs),
                *(result.origin.get(name, '') for name in ORIGIN),
            ]
        )
    return stream.getvalue()


def read_csv(file: Path) -> list[Result]:
    """Read what :func:`write_csv` wrote.

    Raises:
        ConfigError: if the file is not there, or is not such a file.
    """
    try:
        with file.open(encoding='utf-8', newline='') as opened:
            rows = list(csv.DictReader(opened, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f'{file}: cannot be read: {error}') from error
    missing = [name for name in _KEY if rows and name not in rows[0]]
    if missing or not rows:
        raise ConfigError(
            f'{file}: got no {", ".join(missing) or "rows"}, expected a comparison.csv '
            'of tools/compare.py.'
        )
    return [_result(row, f'{file}:{at}') for at, row in enumerate(rows, 2)]


def join(results: Iterable[Result]) -> list[Result]:
    """Results of several places, each method and seed once.

    Where two are within half of a printed digit, the first one is kept, with costs
    that only the other knows.

    Raises:
        ConfigError: if two differ, or if results of one pair were measured or trained
            on different data, of one method trained with different configs, or of one
            seed by different teachers.
    """
    kept: dict[tuple[str, str, int], Result] = {}
    for result in results:
        before = kept.get(result.key)
        if before and not _same_measures(before, result):
            raise ConfigError(
                f'{result.pair}: got two results of {result.method}, seed '
                f'{result.seed}: {_printed(before)} and {_printed(result)}; leave one '
                'out.'
            )
        if before:
            costs = result.costs | before.costs
            origin = result.origin | before.origin
            result = replace(before, costs=costs, origin=origin)
        kept[result.key] = result
    _same(kept.values(), 'data', lambda r: r.pair)
    _same(kept.values(), 'config', lambda r: f'{r.pair}, {r.method}')
    for name in ('test_data_sha256', 'train_data_sha256'):
        _same(kept.values(), name, lambda r: r.pair)
    _same(
        map(_taught, kept.values()), 'teacher_sha256', lambda r: f'{r.pair}, {r.seed}'
    )
    return list(kept.values())


def _same(results: Iterable[Result], name: str, group: Callable[[Result], str]) -> None:
    """Make sure that results of a group agree on where they come from."""
    found: dict[str, tuple[str, Result]] = {}
    for result in results:
        value = result.origin.get(name)
        if not value:
            continue
        other, first = found.setdefault(group(result), (value, result))
        if other != value:
            raise ConfigError(
                f'{group(result)}: {first.method}, seed {first.seed}, and '
                f'{result.method}, seed {result.seed}, do not compare: they have the '
                f'{name} {other!r} and {value!r}; leave one out.'
            )


def _taught(result: Result) -> Result:
    """A result with the teacher of its seed, which a teacher itself is."""
    own = result.origin.get('checkpoint_sha256', '')
    is_teacher = result.method == TEACHER
    origin = result.origin | dict(teacher_sha256=own) if is_teacher else result.origin
    return replace(result, origin=origin)


def _same_measures(one: Result, other: Result) -> bool:
    a, b = one.measures, other.measures
    # Not as printed: a value and its copy in a CSV may round to different digits.
    return a.keys() == b.keys() and all(abs(a[k] - b[k]) < 5e-5 for k in a)


def _printed(result: Result) -> dict[str, str]:
    return {name: f'{100 * value:.2f}' for name, value in result.measures.items()}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{text!r} is no finite number')
    return value


def _result(row: dict[str, str], place: str) -> Result:
    known = {*_KEY, *COSTS, *ORIGIN}
    measures = {k: v for k, v in row.items() if k not in known and v}
    try:
        return Result(
            pair=row['pair'],
            method=row['method'],
            seed=int(row['seed']),
            measures={k: _finite(value) / 100 for k, value in measures.items()},
            costs={name: _finite(row[name]) for name in COSTS if row.get(name)},
            origin={name: row[name] for name in ORIGIN if row.get(name)},
        )
    except (TypeError, ValueError) as error:  # a line too long, too short
        raise ConfigError(f'{place}: got no result: {error}') from error
