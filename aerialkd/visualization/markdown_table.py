"""Tables of runs and of other ways to evaluate them, as papers print them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aerialkd.engine.evaluated import EvaluatedRun
from aerialkd.engine.variants import WHOLE, Variant
from aerialkd.evaluation.coco_matching import MISSING
from aerialkd.visualization.report.comparison import compare_evaluated
from aerialkd.visualization.report.matching import class_averages
from aerialkd.visualization.report.measures import common_measures, mean_and_spread
from aerialkd.visualization.report.runs import Run, evaluation_of, plain

FOLDER = 'variants'  # in a work dir, for what is kept of them
_COCO = ('AP', 'AP50', 'AP75', 'AP_S', 'AP_M', 'AP_L', 'AR_S', 'AR_M', 'AR_L')


@dataclass(frozen=True)
class _Line:
    """Evaluations of a row's runs in one variant."""

    names: tuple[str, ...]
    runs: Sequence[EvaluatedRun]


def markdown_tables(
    work_dirs: Sequence[str | Path],
    variants: Sequence[Variant] = (WHOLE,),
    max_dets: int | None = None,
    classes: bool = False,
    device: str | None = None,
) -> str:
    """Evaluate runs in every variant and write the measures as Markdown.

    Runs of one config that differ in their seeds are one row, mean and sample standard
    deviation. Runs on other test data get a table of their own. Evaluations are kept in
    the work dirs.

    Args:
        work_dirs: of trainings.
        variants: see :func:`aerialkd.engine.variants.variants`.
        max_dets: which of the measured numbers of detections an image; the largest by
            default.
        classes: whether there is a second table, AP of each class.
        device: to evaluate on.

    Returns:
        The text, with a line's end behind it.

    Raises:
        ConfigError: if a folder holds no run, one cannot be evaluated, or nothing was
            measured at ``max_dets``.
    """
    comparisons = compare_evaluated(work_dirs, device)
    parts: list[str] = []
    for comparison in comparisons:
        if len(comparisons) > 1:
            parts.append(f'## {comparison.title}')
        lines = [
            _Line(
                (row.label, variant.label) if len(variants) > 1 else (row.label,),
                [_evaluated(run, variant, device) for run in row.runs],
            )
            for row in comparison.rows
            for variant in variants
        ]
        parts.append(_measures(lines, max_dets))
        if classes:
            parts.append(_class_table(lines, max_dets))
        parts.append(_notes(lines, max_dets))
    return '\n\n'.join(parts) + '\n'


def _evaluated(run: Run, variant: Variant, device: str | None) -> EvaluatedRun:
    cfg = variant.of(run.cfg)
    if run.evaluated is not None and plain(cfg.to_dict()) == plain(run.cfg.to_dict()):
        return run.evaluated  # as configured: this size, say
    print(f'{run.name}: {variant.label}', file=sys.stderr)
    folder = run.work_dir / FOLDER / variant.folder
    return evaluation_of(replace(run, cfg=cfg, work_dir=folder), device)


def _measures(lines: Sequence[_Line], max_dets: int | None) -> str:
    """Measures in percent, then what they cost."""
    values = [
        [common_measures(run.metrics, max_dets).values for run in line.runs]
        for line in lines
    ]
    found = list(dict.fromkeys(k for row in values for run in row for k in run))
    columns = list(_COCO) if 'AP' in found else found
    header = ['mAP' if name == 'AP' else name for name in columns]
    rows = [
        [*_cells(row, columns), *_costs(line.runs[0])]
        for line, row in zip(lines, values, strict=True)
    ]
    return _table(lines, [*header, 'input', 'M params', 'GMACs', 'ms an image'], rows)


def _class_table(lines: Sequence[_Line], max_dets: int | None) -> str:
    names = lines[0].runs[0].classes
    rows = []
    for line in lines:
        limited = [replace(r, max_dets=max_dets or r.max_dets) for r in line.runs]
        rows.append(_cells([class_averages(run) for run in limited], names))
    return _table(lines, names, rows)


def _cells(runs: Sequence[Mapping[str, float]], columns: Sequence[str]) -> list[str]:
    """Means over runs, '-' where one has no value or no ground truth."""
    return [
        mean_and_spread([run[name] for run in runs])
        if all(run.get(name, MISSING) >= 0 for run in runs)
        else '-'
        for name in columns
    ]


def _costs(run: EvaluatedRun) -> list[str]:
    height, width = run.input_size
    return [
        f'{width} x {height}',
        f'{run.parameters / 1e6:.2f}',
        f'{run.flops / 2e9:.2f}',
        f'{1000 / run.images_per_second:.1f}',
    ]


def _table(
    lines: Sequence[_Line], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    names = ['run', 'variant'][: len(lines[0].names)]
    texts = [[*line.names, *row] for line, row in zip(lines, rows, strict=True)]
    return markdown([*names, *header], texts, len(names))


def markdown(
    header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1
) -> str:
    """A Markdown table whose first columns are words, the others numbers."""
    kinds = ['---'] * words + ['---:'] * (len(header) - words)
    return '\n'.join(f'| {" | ".join(row)} |' for row in (header, kinds, *rows))


def _notes(lines: Sequence[_Line], max_dets: int | None) -> str:
    runs = [run for line in lines for run in line.runs]
    notes = ['In percent.']
    notes += [common_measures(run.metrics, max_dets).note for run in runs]
    if len(runs) > len(lines):
        notes.append(
            '± is the sample standard deviation over runs of one config; costs are '
            'those of the first.'
        )
    notes.append(
        'GMACs: multiply-adds of convolutions and matrix products for one image of the '
        'input size (width x height).'
    )
    notes += [
        f'Time: median of single images on {run.device}, threads: {run.threads}, from '
        'the loaded image to its boxes.'
        for run in runs
    ]
    return ' '.join(note for note in dict.fromkeys(notes) if note)
