"""RDR-KD's table I with our results beside it, joined by the methods' names."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from aerialkd.comparison.table import (
    COLUMNS,
    NOT_TRAINED,
    NOTHING,
    BySeed,
    MethodTable,
    gain_over,
    spread,
    values_of,
)
from aerialkd.errors import ConfigError
from aerialkd.visualization.report.comparison import ALONE

TABLE_1 = Path('configs/comparison/rdr_kd_table_1.csv')
BASELINE = 'baseline'  # what the paper calls the student alone
_WORDS = ('method', 'type', 'name')


def paper_table(rows: Mapping[str, BySeed], file: Path = TABLE_1) -> MethodTable:
    """A row a method of the paper.

    Shows AP of both with its gain over the baseline of its own column, then the gains
    in the other measures, ours behind the paper's: the pairs differ, so that absolute
    values do not compare.

    Args:
        rows: ours, of :func:`aerialkd.comparison.table.by_method`.
        file: the paper's numbers.

    Raises:
        ConfigError: if the file cannot be read.
    """
    paper = read_paper(file)
    others = COLUMNS[1:]
    header = ['type', 'method', 'AP, paper', 'gain', 'AP, ours', 'gain']
    table = MethodTable([*header, *(f'{c}, gains' for c in others)], [])
    first, alone = paper[BASELINE], rows.get(ALONE, {})
    for method, theirs in paper.items():
        ours = rows.get(ALONE if method == BASELINE else method, {})
        own = method == BASELINE
        gains = {c: _gains(c, theirs, first, ours, alone, own) for c in COLUMNS}
        value = spread(values_of(ours, 'AP')) if ours else NOT_TRAINED
        cells = [theirs['AP'], gains['AP'][0], value, gains['AP'][1]]
        cells += [' / '.join(gains[c]) if not own else NOTHING for c in others]
        table.rows.append([theirs['type'] or NOTHING, theirs['name'], *cells])
    table.notes = [
        'Paper: RDR-KD table I, YOLOv8l to YOLOv8n on VisDrone. Ours: another pair on '
        'other data, so that only the gains over the baseline of the same column '
        'compare; gains, ours: paired by seed, ± over seeds. Last columns: paper / '
        'ours.'
    ]
    return table


def read_paper(file: Path) -> dict[str, dict[str, str]]:
    """The paper's rows by our names of the methods.

    Raises:
        ConfigError: if the file is not there or lacks a column or the baseline.
    """
    try:
        with file.open(encoding='utf-8', newline='') as opened:
            rows = {row['method']: row for row in csv.DictReader(opened)}
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise ConfigError(f'{file}: cannot be read: {error}') from error
    expected = {*_WORDS, *COLUMNS}
    if BASELINE not in rows or any(set(row) != expected for row in rows.values()):
        raise ConfigError(
            f'{file}: expected a row {BASELINE} and the columns '
            f'{", ".join((*_WORDS, *COLUMNS))}.'
        )
    return rows


def _gains(
    column: str,
    theirs: Mapping[str, str],
    first: Mapping[str, str],
    ours: BySeed,
    alone: BySeed,
    own: bool,
) -> tuple[str, str]:
    """The paper's gain and ours."""
    if own:
        return NOTHING, NOTHING
    gain = float(theirs[column]) - float(first[column])
    text = f'{gain:+.1f}'.replace('-', '\N{MINUS SIGN}')
    return text, gain_over(ours, alone, column)
