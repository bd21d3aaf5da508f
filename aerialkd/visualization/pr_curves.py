"""Precision over recall of several runs, by class and object size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from aerialkd.errors import ConfigError
from aerialkd.evaluation.coco_matching import AREAS, CocoTables
from aerialkd.evaluation.rotated_matching import IOUS
from aerialkd.visualization.report.comparison import Row, compare_evaluated
from aerialkd.visualization.report.matching import (
    RECALLS,
    SIZES,
    box_counts,
    counted_images,
    tables_of,
)


@dataclass(frozen=True)
class _Panel:
    """One class in one size.

    Attributes:
        title: with the number of objects.
        label: of the class.
        area: column of :class:`~aerialkd.evaluation.coco_matching.CocoTables`.
    """

    title: str
    label: int
    area: int


def pr_curves(
    work_dirs: Sequence[str | Path],
    classes: Sequence[str],
    sizes: Sequence[str] = ('small', 'medium', 'all'),
    iou: float = 0.5,
    device: str | None = None,
) -> NDArray[np.uint8]:
    """Draw a row of panels for each class, a column for each size, a line for each run.

    Fig. 10 of "ZoomInNet: A Novel Small Object Detector in Drone Images with
    Cross-Scale Knowledge Distillation" (Liu et al. 2021). What counts is what the
    measures count (:func:`~aerialkd.visualization.report.matching.tables_of`); each
    panel's legend has the average precision at this IoU. Of runs that differ in
    their seeds alone the first is drawn.

    Args:
        work_dirs: of trainings; evaluations are kept there.
        classes: names.
        sizes: out of small, medium, large (COCO's areas) and all.
        iou: one of .50, .55, ..., .95.
        device: to evaluate on.

    Returns:
        The picture, (height, width, 3), BGR.

    Raises:
        ConfigError: if a folder holds no run, runs have other test data, or there is no
            such class or threshold.
    """
    (threshold,) = np.nonzero(np.isclose(IOUS, iou))
    if not len(threshold):
        listed = ', '.join(f'{value:.2f}' for value in IOUS)
        raise ConfigError(f'iou: got {iou}, expected one of {listed}.')
    comparisons = compare_evaluated(work_dirs, device)
    if len(comparisons) > 1:
        listed = '; '.join(comparison.title for comparison in comparisons)
        raise ConfigError(
            f'precision and recall: got runs on {len(comparisons)} sets of classes or '
            f'test data ({listed}), expected one; name runs that can be compared.'
        )
    rows = comparisons[0].rows
    panels = _panels(rows[0], classes, sizes)
    figure = _figure(rows, panels, int(threshold[0]))
    figure.suptitle(f'Precision over recall at IoU {iou:.2f}')
    return _pixels(figure)


def _panels(
    row: Row, classes: Sequence[str], sizes: Sequence[str]
) -> list[list[_Panel]]:
    run = row.evaluation
    unknown = [name for name in classes if name not in run.classes]
    if unknown:
        raise ConfigError(
            f'classes: got {", ".join(unknown)}, expected some of '
            f'{", ".join(run.classes)}.'
        )
    counts = box_counts(counted_images(run), len(run.classes))
    lines = []
    for name in classes:
        label = run.classes.index(name)
        areas = {size: AREAS[SIZES[size]] for size in sizes}
        lines.append(
            [
                _Panel(f'{name}, {size} ({counts[label, area]} objects)', label, area)
                for size, area in areas.items()
            ]
        )
    return lines


def _figure(
    rows: Sequence[Row], panels: Sequence[Sequence[_Panel]], threshold: int
) -> Any:
    height, width = len(panels), len(panels[0])
    figure = Figure(figsize=(3.4 * width, 3.2 * height + 0.6), layout='constrained')
    axes = figure.subplots(height, width, squeeze=False)
    tables = [tables_of(row.evaluation) for row in rows]
    for axis, panel in zip(axes.flat, itertools.chain(*panels), strict=True):
        curves = [_curve(table, threshold, panel) for table in tables]
        _draw(axis, panel.title, rows, curves)
    figure.legend(
        [_line(axes[0][0], row, [], []) for row in rows],
        [row.first.name for row in rows],
        loc='outside lower center',
        ncols=min(len(rows), width),
    )
    return figure


def _curve(tables: CocoTables, threshold: int, panel: _Panel) -> NDArray[np.float64]:
    """Precision at COCO's recalls, (101,); -1 without objects."""
    return np.asarray(tables.precision[threshold, :, panel.label, panel.area])


def _draw(
    axis: Any, title: str, rows: Sequence[Row], curves: Sequence[NDArray[np.float64]]
) -> None:
    axis.set_title(title, fontsize='medium')
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel='recall', ylabel='precision')
    axis.grid(color='#dddddd', linewidth=0.6)
    axis.set_axisbelow(True)
    axis.label_outer()
    if min(curve[0] for curve in curves) < 0:
        axis.text(0.5, 0.5, 'no objects', ha='center', color='#666666')
        return
    for row, curve in zip(rows, curves, strict=True):
        # Down to 0 behind the largest recall, and not along the axis from there.
        end = np.count_nonzero(curve) + 1
        line = _line(axis, row, RECALLS[:end], curve[:end])
        line.set_label(f'{100 * curve.mean():.1f}')
    axis.legend(title='AP, percent', fontsize='small', title_fontsize='small')


def _line(axis: Any, row: Row, x: ArrayLike, y: ArrayLike) -> Any:
    style = (0, row.dashes) if row.dashes else 'solid'
    (line,) = axis.plot(x, y, color=row.color, linestyle=style, linewidth=1.6)
    return line


def _pixels(figure: Any) -> NDArray[np.uint8]:
    figure.set_dpi(150)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rgba = np.asarray(canvas.buffer_rgba())
    return np.ascontiguousarray(rgba[..., 2::-1])
