"""Distillation methods on one pair: trained, measured, written as tables."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aerialkd.comparison.markers import update
from aerialkd.comparison.pairs import ALL, CONFIGS, find_pair
from aerialkd.comparison.paper import paper_table
from aerialkd.comparison.results import Result, join, read_csv, write_csv
from aerialkd.comparison.section import method_section
from aerialkd.comparison.table import by_method, method_table, provenance
from aerialkd.comparison.trainings import ToolError
from aerialkd.comparison.work import (
    Job,
    jobs_of,
    jobs_to_do,
    results_of,
    train_all,
    work_dirs,
)
from aerialkd.files import write_whole
from aerialkd.locks import FolderLock
from aerialkd.visualization.report import write_report


@dataclass(frozen=True)
class Options:
    """What a comparison is asked for.

    Attributes:
        pair: name of a file in ``configs/_base_/pairs``.
        methods: names, or ``'all'``.
        seeds: how many, from 0 on.
        train: whether what is missing is trained, and profiled.
        keep_going: whether the others are trained if one fails.
        profile: whether steps are profiled.
        report: whether the HTML report is written.
        paper: whether RDR-KD's table I follows.
        from_csv: files of earlier comparisons, joined with what is here; no report.
        out: folder; ``work_dirs/comparison/PAIR`` by default.
        update: Markdown file in which the tables take their place.
        configs: the folder of the configs.
    """

    pair: str
    methods: Sequence[str] = (ALL,)
    seeds: int = 3
    train: bool = True
    keep_going: bool = False
    profile: bool = True
    report: bool = True
    paper: bool = False
    from_csv: Sequence[Path] = ()
    out: Path | None = None
    update: Path | None = None
    configs: Path = CONFIGS


def compare(options: Options) -> str:
    """Train what is missing, go on with what was interrupted, write the tables.

    Returns:
        The tables as Markdown. ``out`` has them as ``comparison.md``, every result in
        ``comparison.csv``, and the report as ``report.html``.

    Raises:
        ConfigError: if there is no such pair or method, data cannot be read, or earlier
            results contradict those here.
        ToolError: if a training failed; with ``keep_going`` after all else.
    """
    pair = find_pair(options.pair, options.configs)
    methods = pair.chosen(options.methods)
    earlier = join(r for file in options.from_csv for r in read_csv(file))
    earlier = [r for r in earlier if r.pair == pair.name]
    if ALL in options.methods:
        methods = list(dict.fromkeys([*methods, *(r.method for r in earlier)]))
    jobs = jobs_of(pair, [m for m in methods if m in pair.configs], options.seeds)
    known = [result.key for result in earlier]
    with contextlib.ExitStack() as held:
        if options.train:  # the table alone may be read beside a comparison
            held.enter_context(
                FolderLock(_out(options), 'written', 'choose another --out')
            )
        left = jobs_to_do(pair, jobs, known) if options.train else []
        failed = train_all(left, options.keep_going)
        here = results_of(pair, jobs, profile=options.train and options.profile)
        results = join([*here, *earlier])
        chosen = [r for r in results if r.method in methods]
        text = write(options, chosen, methods, jobs)
    if failed:
        raise ToolError(f'{len(failed)} of {len(left)} failed: {"; ".join(failed)}')
    return text


def _out(options: Options) -> Path:
    return options.out or Path('work_dirs/comparison') / options.pair


def write(
    options: Options,
    results: Sequence[Result],
    methods: Sequence[str],
    jobs: Sequence[Job],
) -> str:
    """Write what there is, and return the tables."""
    rows = by_method(results, methods)
    table = method_table(rows)
    table.notes += provenance(results)
    text = table.markdown()
    if options.paper:
        text += f'\n\n{paper_table(rows).markdown(words=2)}'
    out = _out(options)
    title = f'# Distillation methods on {options.pair}\n\n'
    write_whole(out / 'comparison.md', f'{title}{text}\n'.encode())
    write_whole(out / 'comparison.csv', write_csv(results).encode())
    if options.update:
        update(options.update, options.pair, text)
    print(text)
    folders = work_dirs(jobs)
    if options.report and folders and not options.from_csv:
        section = method_section(options.pair, rows, table)
        write_report(folders, out / 'report.html', methods=section)
    return text
