"""Which charts the report shows: losses, validations, sizes, classes, precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aerialkd.evaluation.coco_matching import AREAS
from aerialkd.visualization.report.comparison import Comparison, Row
from aerialkd.visualization.report.matching import (
    RECALLS,
    box_counts,
    counted_images,
    tables_of,
)
from aerialkd.visualization.report.measures import common_measures, main_measure
from aerialkd.visualization.report.svg import Chart, Series, bar_chart, line_chart

_SIZES = {'_S': 'below 32 px', '_M': '32 to 96 px', '_L': 'above 96 px'}
_CURVE_CLASSES = 3


def training_charts(comparison: Comparison, prefix: str) -> list[Chart]:
    """A chart each loss; losses of a distilled student stand beside a plain one's."""
    names = [name for row in comparison.rows for name in row.first.log.losses]
    plain = [name.removeprefix('student.') for name in dict.fromkeys(names)]
    # The student's own terms, what distils, then the sum.
    order = sorted(dict.fromkeys(plain), key=lambda n: (n == 'loss', '.' in n))
    charts = []
    for index, name in enumerate(order):
        series = []
        for row in comparison.rows:
            losses = row.first.log.losses
            points = losses.get(f'student.{name}') or losses.get(name)
            if points:
                x, y = zip(*points, strict=True)
                series.append(_series(row, x, y))
        title = 'sum of all losses' if name == 'loss' else name
        chart = line_chart(title, series, 'iteration', '', f'{prefix}-loss{index}')
        charts.append(chart)
    return charts


def validation_chart(comparison: Comparison, prefix: str) -> list[Chart]:
    """The main measure over the training; nothing without validations."""
    name = main_measure(comparison)
    series = []
    for row in comparison.rows:
        points = [
            (at, 100 * values[name])
            for at, metrics in row.first.log.validations
            if name in (values := common_measures(metrics).values)
        ]
        if points:
            x, y = zip(*points, strict=True)
            series.append(_series(row, x, y))
    if not series:
        return []
    unit = 'epoch' if comparison.rows[0].first.log.by_epoch else 'iteration'
    title = f'{name} on the validation data, percent'
    return [line_chart(title, series, unit, '', f'{prefix}-validation')]


class BoxCharts:
    """Charts from the boxes of a comparison's evaluated rows.

    Args:
        comparison: with at least one evaluated row.
        prefix: of the charts' names.
    """

    def __init__(self, comparison: Comparison, prefix: str) -> None:
        self.rows = comparison.evaluated
        self.prefix = prefix
        self.tables = [tables_of(row.evaluation) for row in self.rows]
        first = self.rows[0].evaluation
        self.classes = first.classes
        self.counts = box_counts(counted_images(first), len(first.classes))
        self.rotated = first.rotated

    def sizes(self) -> Chart:
        """Bars by object size."""
        totals = self.counts.sum(axis=0)
        names = [f'{text} ({totals[AREAS[k]]})' for k, text in _SIZES.items()]
        series = [
            self._bars(row, [_mean(t.precision[..., AREAS[k]]) for k in _SIZES])
            for row, t in zip(self.rows, self.tables, strict=True)
        ]
        title = 'AP by object size'
        return bar_chart(title, names, series, 'percent', f'{self.prefix}-sizes')

    def by_class(self) -> Chart:
        """Bars by class, the most frequent first; classes without objects left out."""
        order = self._frequent()
        names = [f'{self.classes[k]} ({self.counts[k, 0]})' for k in order]
        series = [
            self._bars(row, [_mean(t.precision[:, :, k, 0]) for k in order])
            for row, t in zip(self.rows, self.tables, strict=True)
        ]
        title = 'AP by class'
        return bar_chart(title, names, series, 'percent', f'{self.prefix}-classes')

    def curves(self) -> list[Chart]:
        """Precision over recall at IoU .5: all classes, then the most frequent."""
        charts = [self._curve('all classes (mean)', range(len(self.classes)), 'all')]
        for k in self._frequent()[:_CURVE_CLASSES]:
            charts.append(self._curve(self.classes[k], [k], str(k)))
        return charts

    def _curve(self, title: str, classes: Sequence[int], name: str) -> Chart:
        series = []
        for row, table in zip(self.rows, self.tables, strict=True):
            values = table.precision[0, :, list(classes), 0].T  # (R, K)
            present = values[:, (values >= 0).all(axis=0)]
            if present.size:
                series.append(_series(row, RECALLS.tolist(), present.mean(1).tolist()))
        name = f'{self.prefix}-curve-{name}'
        return line_chart(title, series, 'recall', 'precision', name, unit_square=True)

    def _frequent(self) -> list[int]:
        order = np.argsort(-self.counts[:, 0], kind='stable')
        return [int(k) for k in order if self.counts[k, 0]]

    def _bars(self, row: Row, shares: Sequence[float]) -> Series:
        return _series(row, (), [100 * share for share in shares])


def _series(row: Row, x: Sequence[float], y: Sequence[float]) -> Series:
    return Series(row.label, row.color, row.dashes, x, y)


def _mean(values: np.ndarray) -> float:
    present = values[values >= 0]
    return float(present.mean()) if present.size else float('nan')
