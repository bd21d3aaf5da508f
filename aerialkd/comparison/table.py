"""Tables of a comparison: means and spread over seeds, differences paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from aerialkd.comparison.results import Result
from aerialkd.visualization.markdown_table import markdown
from aerialkd.visualization.report.comparison import ALONE
from aerialkd.visualization.report.measures import mean_and_spread, percent

NOT_TRAINED = 'not trained'
NOTHING = '-'
COLUMNS = ('AP', 'AP50', 'AP75', 'AP_S', 'AP_M', 'AP_L')
_COSTS = {'step_ms': '{:.0f}', 'ratio': '{:.3f}', 'extra_mib': '{:+.0f}'}
_COST_NAMES = ('step, ms', 'ratio', 'memory, MiB')
BySeed = Mapping[int, Result]


@dataclass
class MethodTable:
    """A table ready to be printed.

    Attributes:
        header: names of the columns; the first one names methods.
        rows: a text a column.
        notes: sentences below.
    """

    header: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self, words: int = 1) -> str:
        """The table and its notes; ``words`` columns are left-aligned."""
        parts = [markdown(self.header, self.rows, words), ' '.join(self.notes)]
        return '\n\n'.join(part for part in parts if part)


def by_method(
    results: Sequence[Result], methods: Sequence[str]
) -> dict[str, dict[int, Result]]:
    """Results of each method by seed; of some none."""
    rows: dict[str, dict[int, Result]] = {method: {} for method in methods}
    for result in sorted(results, key=lambda result: result.seed):
        if result.method in rows:
            rows[result.method][result.seed] = result
    return rows


def method_table(rows: Mapping[str, BySeed]) -> MethodTable:
    """A row a method: measures, gain over the student alone, cost of a step.

    Args:
        rows: of :func:`by_method`.
    """
    columns = measure_columns(rows)
    main = columns[0]
    alone = rows.get(ALONE, {})
    most = max((len(seeds) for seeds in rows.values()), default=0)
    where = profiled_on(rows)
    table = MethodTable(
        ['method', 'seeds', *columns, f'{main} to student', *_COST_NAMES], []
    )
    for name, seeds in rows.items():
        if not seeds:
            empty = [NOTHING] * (len(table.header) - 3)
            table.rows.append([name, '0', NOT_TRAINED, *empty])
            continue
        count = str(len(seeds)) if len(seeds) == most else f'{len(seeds)} of {most}'
        cells = [spread(values_of(seeds, column)) for column in columns]
        gain = NOTHING if name == ALONE else gain_over(seeds, alone, main)
        table.rows.append([name, count, *cells, gain, *_costs(seeds, where)])
    table.notes = _notes(rows, main, where)
    return table


def measure_columns(rows: Mapping[str, BySeed]) -> list[str]:
    """What is shown: AP by IoU and size, or what an evaluator has instead, mAP first.

    Of the measures with ground truth; ``['AP']`` where nothing was measured.
    """
    results = [result for seeds in rows.values() for result in seeds.values()]
    found = list(dict.fromkeys(name for r in results for name in r.measures))
    if not found or 'AP' in found:
        return [name for name in COLUMNS if name in (found or ['AP'])]
    return sorted(found, key=lambda name: name != 'mAP')[:6]


def values_of(seeds: BySeed, name: str) -> list[float]:
    """A measure of those seeds that have it."""
    return [r.measures[name] for r in seeds.values() if name in r.measures]


def paired(seeds: BySeed, others: BySeed, name: str) -> list[float]:
    """Differences of a measure, one a seed that both have."""
    return [
        seeds[seed].measures[name] - others[seed].measures[name]
        for seed in seeds
        if seed in others
        and name in seeds[seed].measures
        and name in others[seed].measures
    ]


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation in percent; '-' for no values."""
    return mean_and_spread(values) if values else NOTHING


def gain_over(seeds: BySeed, others: BySeed, name: str) -> str:
    """The mean of the paired differences, with a sign and its spread.

    Says how many pairs there are where a seed has none.
    """
    differences = paired(seeds, others, name)
    if not differences:
        return NOTHING
    _, sign, deviation = mean_and_spread(differences).partition(' ± ')
    text = f'{percent(mean(differences), sign=True)}{sign}{deviation}'
    if len(differences) < len(values_of(seeds, name)):
        text += f' ({len(differences)} pair{"s" if len(differences) > 1 else ""})'
    return text


def profiled_on(rows: Mapping[str, BySeed]) -> str:
    """Where most methods' steps were timed: times of two machines do not compare."""
    places = [
        place
        for seeds in rows.values()
        for place in {r.origin.get('profiled', '') for r in seeds.values()} - {''}
    ]
    return max(sorted(places), key=places.count, default='')


def _costs(seeds: BySeed, where: str) -> list[str]:
    """Of the first seed whose step was timed there."""
    there = [r for r in seeds.values() if r.origin.get('profiled') == where != '']
    costs = there[0].costs if there else {}
    return [
        form.format(costs[name]).replace('-', '\N{MINUS SIGN}')
        if name in costs
        else NOTHING
        for name, form in _COSTS.items()
    ]


def _notes(rows: Mapping[str, BySeed], main: str, where: str) -> list[str]:
    results = [result for seeds in rows.values() for result in seeds.values()]
    notes = ['In percent.', *(r.origin.get('note', '') for r in results)]
    if any(len(seeds) > 1 for seeds in rows.values()):
        notes.append('± is the sample standard deviation over seeds.')
    notes.append(
        f'{main} to student: mean difference to the student alone of the same seed, '
        'where both are trained; each seed has its own teacher.'
    )
    if where:
        timed = [r for r in results if r.origin.get('profiled') == where]
        batches = '; '.join(dict.fromkeys(r.origin.get('batch', '') for r in timed))
        notes.append(
            'Step: median time of a training step; ratio: over student step + teacher '
            "forward; memory: peak, to that of the student's step; all on "
            f'{where}: {batches}.'
        )
    return [note for note in dict.fromkeys(notes) if note]


def provenance(results: Sequence[Result]) -> list[str]:
    """Sentences: data, seeds, machines, versions, days."""
    if not results:
        return []
    seeds = sorted({result.seed for result in results})
    said = [f'Data: {_listed(results, "data")}.', f'Seeds: {_numbers(seeds)}.']
    made = dict.fromkeys(
        '{machine}, torch {torch}, aerialkd {aerialkd}, {date}'.format(
            **{k: r.origin.get(k, 'unknown') for k in _MEASURED_ON}
        )
        for r in results
    )
    said.append(f'Measured on: {"; ".join(made)}.')
    return said


_MEASURED_ON = ('machine', 'torch', 'aerialkd', 'date')


def _listed(results: Sequence[Result], name: str) -> str:
    values = dict.fromkeys(r.origin.get(name, 'unknown') for r in results)
    return '; '.join(values)


def _numbers(values: Sequence[int]) -> str:
    return ', '.join(map(str, values))
