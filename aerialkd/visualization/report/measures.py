"""The table and the sentence at the top: measures, differences, spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from aerialkd.errors import ConfigError
from aerialkd.evaluation.metric_names import split_limit
from aerialkd.visualization.report.comparison import TEACHER, Comparison, Row
from aerialkd.visualization.report.runs import Run

_COCO = {
    'mAP': 'AP',
    'mAP_50': 'AP50',
    'mAP_75': 'AP75',
    'mAP_s': 'AP_S',
    'mAP_m': 'AP_M',
    'mAP_l': 'AP_L',
}
_ROTATED = ('mAP50', 'AP75', 'mAP')
LEADING = 3  # distilled students that the sentence names


@dataclass(frozen=True)
class Measures:
    """Measures of one evaluation under common names, in [0, 1].

    Attributes:
        values: by name; those without ground truth are left out.
        note: what the names mean here; ''.
    """

    values: dict[str, float]
    note: str = ''


@dataclass
class Cell:
    """One entry of the table: its text, its difference, whether that is a gain."""

    text: str
    difference: str = ''
    gain: bool = False


@dataclass
class Table:
    """The table of a comparison.

    Attributes:
        columns: names of the measures.
        rows: (row, its cells).
        notes: sentences under the table.
    """

    columns: list[str]
    rows: list[tuple[Row, list[Cell]]]
    notes: list[str] = field(default_factory=list)


def common_measures(
    metrics: Mapping[str, float], max_dets: int | None = None
) -> Measures:
    """Name an evaluator's measures as one does in tables.

    Understands VisDroneMetric, CocoMetric, RotatedMetric (areas under the curve) and
    mmrotate's DOTAMetric; of others every measure is kept under its own name.

    Args:
        metrics: what the evaluator returned.
        max_dets: which of VisDroneMetric's numbers of detections; the largest by
            default.

    Raises:
        ConfigError: if nothing was measured at this number.
    """
    # Two parts: measures of single classes have three.
    short = {k.rpartition('/')[2]: v for k, v in metrics.items() if k.count('/') <= 1}
    limited = {k: parts for k in short if (parts := split_limit(k))}
    limits = sorted({limit for _, limit in limited.values()})
    if max_dets is not None and max_dets not in limits:
        raise ConfigError(
            f'max_dets: got {max_dets}, expected one of the numbers of detections that '
            f'were measured: {", ".join(map(str, limits)) or "none"}.'
        )
    if limited:
        limit = max_dets or limits[-1]
        values = {name: short[k] for k, (name, at) in limited.items() if at == limit}
        note = f'At most the {limit} best detections of an image count.'
    elif any(k.startswith('bbox_mAP') for k in short):
        named = {_COCO.get(k.removeprefix('bbox_')): v for k, v in short.items()}
        values = {k: v for k, v in named.items() if k}
        note = "COCO's measures, by CocoMetric."
    elif 'mAP50_11' in short:
        values = _rotated(metrics)
        note = (
            'Rotated boxes, matched as DOTA does: mAP50 at IoU .5, AP75 at .75, mAP '
            'over .50:.95; areas under the curve, means over classes.'
        )
        if len(values) > len(_ROTATED):
            note += ' (scenes): tiles merged, against the objects of whole scenes.'
    elif any(k.startswith('dota/') for k in metrics):
        values = short
        note = 'Rotated boxes: mAP is the mean over classes and IoU thresholds (dota/).'
    else:
        values, note = short, ''
    return Measures({k: v for k, v in values.items() if v >= 0}, note)


def _rotated(metrics: Mapping[str, float]) -> dict[str, float]:
    """Measures of the images or tiles, then those of the scenes they were cut from."""
    own = {k.partition('/')[2]: v for k, v in metrics.items()}
    kinds = (('', ''), ('scenes/', ' (scenes)'))
    return {
        f'{name}{suffix}': own[f'{part}{name}']
        for part, suffix in kinds
        for name in _ROTATED
        if f'{part}{name}' in own
    }


def main_measure(comparison: Comparison) -> str:
    """The measure that stands for the others: AP, mAP, or the first there is."""
    columns = _columns(comparison)
    return next(
        (c for c in ('AP', 'mAP') if c in columns), columns[0] if columns else ''
    )


def table_of(comparison: Comparison) -> Table:
    """A row a config: role, measures with differences to the student alone, cost."""
    columns = _columns(comparison)
    table = Table(columns, [])
    for row in comparison.rows:
        other = comparison.reference_of(row)
        reference = _means(other) if other else {}
        cells = [_cell(row, column, reference.get(column)) for column in columns]
        table.rows.append((row, cells))
    table.notes = _notes(comparison)
    return table


def sentence(comparison: Comparison) -> str:
    """What is compared, and the result; of many distilled students the best few."""
    name = main_measure(comparison)
    values = {row.label: _means(row)[name] for row in comparison.rows if _means(row)}
    if not values:
        listed = ', '.join(row.label for row in comparison.rows)
        return f'Not evaluated: {listed}.'
    rows = [row for row in comparison.rows if row.role == 'distilled']
    rows = [row for row in rows if row.label in values]
    more = len(rows) - LEADING
    if more > 0:
        rows = sorted(rows, key=lambda row: values[row.label], reverse=True)[:LEADING]
    parts = [_result(row, comparison, name) for row in rows]
    if more > 0:
        parts[0] = f'Best of {more + LEADING} distilled students: {parts[0]}'
    if not parts:
        listed = ', '.join(f'{k} {percent(v)}' for k, v in values.items())
        parts = [f'{name} in percent: {listed}']
    data = f' ({comparison.title})' if comparison.title else ''
    return '; '.join(parts) + f'{data}.' + _seed_remark(comparison)


def percent(value: float, sign: bool = False) -> str:
    """A share in percent, with a true minus."""
    text = f'{100 * value:+.2f}' if sign else f'{100 * value:.2f}'
    return text.replace('-', '\N{MINUS SIGN}')


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean in percent, with the sample standard deviation of several values."""
    text = percent(mean(values))
    return f'{text} ± {percent(stdev(values))}' if len(values) > 1 else text


def _result(row: Row, comparison: Comparison, name: str) -> str:
    """``PKD: AP 12.30, 2.10 above the student alone, 2.00 below its teacher``."""
    value = _means(row)[name]
    many = sum(other.role == 'distilled' for other in comparison.rows) > 1
    method = row.first.method or 'distilled'
    text = f'{method} ({row.label})' if many else method
    text += f': {name} {percent(value)}'
    if len(row.runs) > 1:
        text += f' (mean of {len(row.runs)} runs)'
    alone = comparison.reference_of(row)
    whose_student = 'the student alone'
    if alone and comparison.several_alone:
        whose_student += f' ({alone.label})'
    teacher = comparison.of_role(TEACHER)
    for other, whose in ((alone, whose_student), (teacher, 'its teacher')):
        reference = _means(other).get(name) if other else None
        if reference is None:
            continue
        gap = value - reference
        side = 'below' if gap < 0 else 'above'
        text += f', {percent(abs(gap))} {side} {whose}'
    return text


def _seed_remark(comparison: Comparison) -> str:
    single = [row.label for row in comparison.rows if len(row.runs) == 1]
    if len(comparison.rows) < 2 or not single:
        return ''
    whom = ', '.join(single)
    if len(single) == len(comparison.rows):
        whom = 'each'
    elif len(single) > LEADING:
        whom = f'{len(single)} of {len(comparison.rows)}'
    return f' One run of {whom}: how much other seeds differ is not known.'


def _columns(comparison: Comparison) -> list[str]:
    names = [name for row in comparison.rows for name in _means(row)]
    return list(dict.fromkeys(names))[:10]


def _values(row: Row) -> list[dict[str, float]]:
    return [common_measures(run.metrics).values for run in row.runs if run.metrics]


def _means(row: Row) -> dict[str, float]:
    """Mean of each measure that all evaluated runs of a row have."""
    all_values = _values(row)
    names = all_values[0] if all_values else {}
    return {
        name: mean(values[name] for values in all_values)
        for name in names
        if all(name in values for values in all_values)
    }


def _cell(row: Row, column: str, reference: float | None) -> Cell:
    means = _means(row)
    if column not in means:
        return Cell('not evaluated' if not means else '\N{EN DASH}')
    text = mean_and_spread([values[column] for values in _values(row)])
    if reference is None:
        return Cell(text)
    difference = means[column] - reference
    return Cell(text, percent(difference, sign=True), difference > 0)


def _notes(comparison: Comparison) -> list[str]:
    metrics = [run.metrics for row in comparison.rows for run in row.runs]
    notes = [common_measures(m).note for m in metrics if m]
    if any(len(row.runs) > 1 for row in comparison.rows):
        notes.append('± is the sample standard deviation over runs of one config.')
    if comparison.baseline and len(comparison.rows) > 1:
        label = comparison.baseline.label
        whose = f'the student alone ({label})'
        if comparison.several_alone:
            whose = f'the student alone of the same model, otherwise to {label}'
        notes.append(f'Small numbers: difference to {whose}.')
    for row in comparison.rows:
        notes += [_source(run) for run in row.runs]
        if len(row.runs) > 1:
            notes.append(f'{row.label}: charts and pictures show {row.first.name}.')
    notes += _cost_notes(comparison)
    return [note for note in dict.fromkeys(notes) if note]


def _source(run: Run) -> str:
    """Where the measures of a run that was not evaluated here come from."""
    if run.evaluated is not None:
        return ''
    if not run.log.validations:
        return f'{run.name} is not evaluated: {run.remark}.'
    unit = 'epoch' if run.log.by_epoch else 'iteration'
    at = run.log.validations[-1][0]
    return f'{run.name}: measures of the validation after {unit} {at}, as {run.remark}.'


def _cost_notes(comparison: Comparison) -> list[str]:
    notes = []
    for row in comparison.evaluated:
        run = row.evaluation
        height, width = run.input_size
        notes.append(
            f'FLOPs of one image of {width} x {height} pixels: twice the '
            'multiply-adds of convolutions and matrix products.'
        )
        threads = f'{run.threads} thread{"s" if run.threads > 1 else ""}'
        notes.append(
            f'Images per second: median of single images on {run.device}'
            f'{f" with {threads}" if run.device == "cpu" else ""}, from the loaded '
            'image to its boxes, NMS included.'
        )
    return notes
