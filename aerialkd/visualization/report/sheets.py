"""Feature sheets of distilled runs, on images that the report shows anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aerialkd.errors import AerialKDError
from aerialkd.loading import file_of
from aerialkd.visualization.drawing import enlarge
from aerialkd.visualization.features import feature_sheet, feature_views
from aerialkd.visualization.report.comparison import (
    DISTILLED,
    TEACHER,
    Comparison,
    Row,
)
from aerialkd.visualization.report.pictures import Picture, PictureBudget, encode


@dataclass
class Sheets:
    """A distilled run's sheets, or why there are none."""

    label: str
    pictures: list[Picture] = field(default_factory=list)
    problem: str = ''


def sheets_of(
    comparison: Comparison, images: Sequence[str], budget: PictureBudget
) -> list[Sheets]:
    """Sheets of every distilled row; a teacher that cannot be found is a sentence.

    Args:
        comparison: with its runs.
        images: paths to show, the most important first.
        budget: how many and how large.
    """
    found = []
    for row in comparison.rows:
        if row.role != DISTILLED:
            continue
        sheets = Sheets(row.first.name)
        try:
            sheets.pictures = _pictures(row, comparison, images, budget)
            sheets.problem = '' if images else 'no run was evaluated on images.'
        except AerialKDError as error:
            sheets.problem = ' '.join(str(error).split())
        found.append(sheets)
    return found


def _pictures(
    row: Row, comparison: Comparison, images: Sequence[str], budget: PictureBudget
) -> list[Picture]:
    run = row.first
    if not images or run.checkpoint is None:
        return []
    pictures = []
    for path in images[: budget.sheets]:
        views = feature_views(
            run.cfg,
            run.checkpoint,
            path,
            device=run.evaluated.device if run.evaluated else 'cpu',
            teacher_checkpoint=_moved_teacher(row, comparison),
        )
        sheet, _ = enlarge(feature_sheet(views), least=1, most=2 * budget.side)
        name = Path(path).name
        alt = f'Features of teacher and student ({run.name}) on {name}, a row a level'
        source = encode(sheet, budget.quality)
        pictures.append(Picture(source, alt, name, ' '.join(views.notes)))
    return pictures


def _moved_teacher(row: Row, comparison: Comparison) -> Path | None:
    """The teacher's checkpoint in a work dir of this report, if it was moved there."""
    configured = file_of(row.first.cfg.model.get('teacher_ckpt') or '')
    teacher = comparison.of_role(TEACHER)
    if configured.is_file() or teacher is None:
        return None
    here = teacher.first.work_dir / configured.name
    return here if here.is_file() else None
