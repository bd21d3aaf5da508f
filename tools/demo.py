"""The demo: made images, a teacher, a student alone, the same student distilled.

With --methods, trained with each of them; with --detector gfl, a GFL, whose boxes are
distributions; with --detector rotated-retinanet, on rotated boxes; with --detector
zoom-retinanet, by a teacher that sees the images at twice the scale.

Everything lands under work_dirs/demo, demo_gfl, demo_rotated or demo_zoom.
Interrupted and started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from mmengine.config import Config

from aerialkd.cli import one_line_errors
from aerialkd.comparison.trainings import (
    last_checkpoint,
    make_data,
    run_tool,
    seeded,
    train,
)
from aerialkd.engine.evaluated import evaluated_run
from aerialkd.errors import ConfigError

ROOT = Path(__file__).parents[1]


class Demo(NamedTuple):
    """A detector of the demo, and the data that it is trained on.

    Attributes:
        work_dir: everything lands there.
        measures: columns of the table.
        key: the evaluator's name of a measure.
        method: what the student is distilled with unless told otherwise.
    """

    work_dir: Path
    measures: tuple[str, ...]
    key: str
    method: str


HORIZONTAL = Demo(
    work_dir=Path('work_dirs/demo'),
    measures=('AP', 'AP50', 'AP75', 'AP_S', 'AP_M'),
    key='visdrone/{}_at_500',
    method='pkd',
)
DEMOS = {
    'retinanet': HORIZONTAL,
    'gfl': HORIZONTAL._replace(work_dir=Path('work_dirs/demo_gfl'), method='ld'),
    'zoom-retinanet': HORIZONTAL._replace(
        work_dir=Path('work_dirs/demo_zoom'), method='cskd'
    ),
    'rotated-retinanet': Demo(
        work_dir=Path('work_dirs/demo_rotated'),
        measures=('mAP', 'mAP50', 'AP75'),
        key='rotated/{}',
        method='kd-rnet',
    ),
}
COSTS = ('M params', 'GFLOPs', 'images/s')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0],
        help='train teacher and students once for each; the images stay the same',
    )
    parser.add_argument('--detector', choices=DEMOS, default='retinanet')
    parser.add_argument('--methods', nargs='+', help='train the student once with each')
    return parser.parse_args()


def methods_of(detector: str) -> list[str]:
    """What configs/demo makes of a detector's student."""
    found = (ROOT / 'configs/demo').glob(f'*_{detector}.py')
    return sorted(path.stem.removesuffix(f'_{detector}') for path in found)


def chosen_methods(detector: str, methods: list[str] | None) -> list[str]:
    """What the student is trained with.

    Raises:
        ConfigError: if configs/demo has no such method for the detector.
    """
    chosen = methods or [DEMOS[detector].method]
    unknown = sorted(set(chosen) - set(methods_of(detector)))
    if unknown:
        raise ConfigError(
            f'--methods: got {", ".join(unknown)}, expected some of '
            f'{", ".join(methods_of(detector))} for {detector}.'
        )
    return chosen


def evaluate(cfg: Config, demo: Demo) -> dict[str, float]:
    """The table's row of a finished training."""
    result = evaluated_run(cfg, last_checkpoint(cfg), cache=cfg.work_dir)
    costs = result.parameters / 1e6, result.flops / 1e9, result.images_per_second
    return {
        **{key: 100 * result.metrics[demo.key.format(key)] for key in demo.measures},
        **dict(zip(COSTS, costs, strict=True)),
    }


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Rows by name, one for each seed, as an aligned text table of their means.

    With several seeds the measures carry their sample standard deviation.
    """
    columns = list(next(iter(rows.values()))[0])
    width = max(map(len, rows)) + 2
    lines = [' ' * width + ''.join(f'{column:>14}' for column in columns)]
    for name, seeds in rows.items():
        line = f'{name:<{width}}'
        for column in columns:
            values = [row[column] for row in seeds]
            cell = f'{mean(values):.2f}'
            if len(values) > 1 and column not in COSTS:
                cell += f' ± {stdev(values):.2f}'
            line += f'{cell:>14}'
        lines.append(line)
    return '\n'.join(lines)


@one_line_errors
def main() -> None:
    args = parse_args()
    seeds, detector, demo = args.seeds, args.detector, DEMOS[args.detector]
    methods = chosen_methods(detector, args.methods)
    os.chdir(ROOT)  # paths in configs start there
    start = time.monotonic()
    runs = {'teacher': f'{detector}_teacher', 'student alone': f'{detector}_student'}
    runs |= {f'{method} student': f'{method}_{detector}' for method in methods}
    files = {label: f'configs/demo/{name}.py' for label, name in runs.items()}
    configs = [(k, seeded(file, seed)) for seed in seeds for k, file in files.items()]
    make_data(configs[0][1])
    for label, cfg in configs:
        train(files[label], cfg)
    rows: dict[str, list[dict[str, float]]] = {label: [] for label in runs}
    for label, cfg in configs:
        rows[label].append(evaluate(cfg, demo))
    report = demo.work_dir / 'report.html'
    run_tool('report.py', *(cfg.work_dir for _, cfg in configs), '--out', report)
    minutes = (time.monotonic() - start) / 60
    print(f'\nDemo on made images, seeds {seeds}, {minutes:.1f} minutes')
    print(table(rows))
    print(f'\nreport: {report}')


if __name__ == '__main__':
    main()
