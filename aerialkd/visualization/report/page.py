"""The page: everything gathered, rendered and written as one file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from aerialkd.engine.staging import staging
from aerialkd.errors import ConfigError
from aerialkd.visualization.report.charts import (
    BoxCharts,
    training_charts,
    validation_chart,
)
from aerialkd.visualization.report.comparison import Comparison, compare
from aerialkd.visualization.report.measures import Table, sentence, table_of
from aerialkd.visualization.report.pictures import (
    BUDGETS,
    FALSE,
    FOUND,
    IGNORED,
    MISSED,
    PictureBudget,
    SideBySide,
    side_by_side,
)
from aerialkd.visualization.report.provenance import Origin, origins, versions_here
from aerialkd.visualization.report.runs import evaluate_run, read_runs
from aerialkd.visualization.report.sheets import Sheets, sheets_of
from aerialkd.visualization.report.svg import Chart, legend_line

MAX_BYTES = 8_000_000


@dataclass
class Part:
    """One comparison, ready to be rendered; empty lists leave sections out.

    Attributes:
        comparison: what it shows.
        sentence: the result.
        table: of measures and costs.
        losses: charts of the training.
        validation: the measure over the training.
        sizes: bars by size.
        by_class: bars by class.
        curves: precision over recall.
        rotated: whether the boxes have angles.
        origins: how each run was made.
        scenes: side-by-side pictures.
        sheets: features of distilled runs.
    """

    comparison: Comparison
    sentence: str
    table: Table
    losses: list[Chart]
    validation: list[Chart]
    sizes: Chart | None = None
    by_class: Chart | None = None
    curves: list[Chart] = field(default_factory=list)
    rotated: bool = False
    origins: list[Origin] = field(default_factory=list)
    scenes: SideBySide = field(default_factory=SideBySide)
    sheets: list[Sheets] = field(default_factory=list)

    @property
    def evaluated(self) -> bool:
        """Whether there are boxes to show."""
        return bool(self.comparison.evaluated)


@dataclass(frozen=True)
class MethodSection:
    """A table of methods over seeds, with a section of its own.

    Attributes:
        title: what they were compared on.
        header: names of the columns, the first for the methods.
        rows: a text a column.
        notes: sentences below.
        chart: of the seeds' values; None for nothing trained.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    chart: Chart | None = None


def write_report(
    work_dirs: Sequence[str | Path],
    out: str | Path,
    evaluate: bool = True,
    baseline: str | None = None,
    device: str | None = None,
    methods: MethodSection | None = None,
) -> Path:
    """Compare runs in one self-contained HTML file.

    Args:
        work_dirs: of the trainings; what is missing of an evaluation is done and kept
            there.
        out: the file, replaced if it exists.
        evaluate: whether checkpoints without a kept evaluation are evaluated.
        baseline: name of the run that is the student alone; by default the one whose
            model is that of a distilled student.
        device: to evaluate on.
        methods: a comparison of methods to put first.

    Returns:
        ``out``.

    Raises:
        ConfigError: if a folder holds no run, or the page would be too large.

    Example:
        >>> write_report(['work_dirs/student', 'work_dirs/pkd'], 'report.html')
    """
    runs = read_runs([Path(folder) for folder in work_dirs])
    for run in runs:
        print(f'{run.name}: {run.checkpoint or "no checkpoint"}', file=sys.stderr)
        evaluate_run(run, evaluate, device)
    parts = [
        _part(comparison, f'part{index}')
        for index, comparison in enumerate(compare(runs, baseline))
    ]
    text = _within_budget(parts, methods)
    target = Path(out)
    with staging([target], force=True) as folder:
        (folder / target.name).write_text(text, encoding='utf-8')
    return target


def _part(comparison: Comparison, prefix: str) -> Part:
    part = Part(
        comparison=comparison,
        sentence=sentence(comparison),
        table=table_of(comparison),
        losses=training_charts(comparison, prefix),
        validation=validation_chart(comparison, prefix),
        origins=origins(comparison),
    )
    if part.evaluated:
        charts = BoxCharts(comparison, prefix)
        part.sizes = charts.sizes()
        part.by_class = charts.by_class()
        part.curves = charts.curves()
        part.rotated = charts.rotated
    return part


def _within_budget(parts: Sequence[Part], methods: MethodSection | None) -> str:
    """Render with as many pictures as fit.

    Raises:
        ConfigError: if even the fewest do not.
    """
    for budget in BUDGETS:
        for part in parts:
            _add_pictures(part, budget)
        text = render(parts, methods)
        size = len(text.encode())
        if size <= MAX_BYTES:
            return text
    raise ConfigError(
        f'report: got a page of {size / 1e6:.1f} MB with the fewest pictures, expected '
        f'at most {MAX_BYTES / 1e6:.0f} MB; name fewer work dirs.'
    )


def _add_pictures(part: Part, budget: PictureBudget) -> None:
    if part.evaluated:
        part.scenes = side_by_side(part.comparison, budget)
    images = [scene.image.path for scene in part.scenes.scenes]
    part.sheets = sheets_of(part.comparison, images, budget)


def render(parts: Sequence[Part], methods: MethodSection | None = None) -> str:
    """The page's text."""
    environment = Environment(
        loader=PackageLoader('aerialkd.visualization.report', '.'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template('report.html.j2').render(
        parts=parts,
        methods=methods,
        key=legend_line,
        outcomes={
            name: 'rgb({}, {}, {})'.format(*color)
            for name, color in (
                ('found', FOUND),
                ('missed', MISSED),
                ('false', FALSE),
                ('ignored', IGNORED),
            )
        },
        versions=versions_here(),
        now=datetime.now().astimezone(),
    )
