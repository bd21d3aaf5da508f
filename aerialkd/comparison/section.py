"""The comparison as a section of the HTML report."""

from __future__ import annotations

from collections.abc import Mapping

from aerialkd.comparison.table import BySeed, MethodTable, measure_columns, values_of
from aerialkd.visualization.report.page import MethodSection
from aerialkd.visualization.report.svg import dot_chart


def method_section(
    pair: str, rows: Mapping[str, BySeed], table: MethodTable
) -> MethodSection:
    """The table, and a dot for each seed of each method that was trained."""
    main = measure_columns(rows)[0]
    points = {
        name: [100 * value for value in values]
        for name, seeds in rows.items()
        if (values := values_of(seeds, main))
    }
    title = f'{main} of each seed, and their mean'
    chart = dot_chart(title, points, f'{main}, percent', 'methods') if points else None
    return MethodSection(pair, table.header, table.rows, table.notes, chart)
