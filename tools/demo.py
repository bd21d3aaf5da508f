"""The demo: made images, a teacher, a student alone, the same student distilled.

With --methods, trained with each of them; with --detector rotated-retinanet, on rotated
boxes; with --detector zoom-retinanet, by a teacher that sees the images at twice the
scale.

Everything lands under work_dirs/demo, work_dirs/demo_rotated or work_dirs/demo_zoom.
Interrupted and started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from mmengine.config import Config

from aerialkd.cli import one_line_errors, read_config
from aerialkd.engine.evaluated import evaluated_run
from aerialkd.errors import ConfigError

ROOT = Path(__file__).parents[1]


class Demo(NamedTuple):
    """A detector of the demo, and the data that it is trained on.

    Attributes:
        work_dir: everything else lands there.
        data: the made images.
        made: what ``tools/make_demo_data.py`` is told.
        measures: columns of the table.
        key: the evaluator's name of a measure.
        method: what the student is distilled with unless told otherwise.
    """

    work_dir: Path
    data: Path
    made: dict[str, Any]
    measures: tuple[str, ...]
    key: str
    method: str


HORIZONTAL = Demo(
    work_dir=Path('work_dirs/demo'),
    data=Path('work_dirs/demo/data'),
    made={'layout': 'visdrone', 'images': 1000, 'size': 192, 'seed': 0},
    measures=('AP', 'AP50', 'AP75', 'AP_S', 'AP_M'),
    key='visdrone/{}@500',
    method='pkd',
)
DEMOS = {
    'retinanet': HORIZONTAL,
    'zoom-retinanet': HORIZONTAL._replace(
        work_dir=Path('work_dirs/demo_zoom'), method='cskd'
    ),
    'rotated-retinanet': Demo(
        work_dir=Path('work_dirs/demo_rotated'),
        data=Path('work_dirs/demo_rotated/data'),
        made={'layout': 'dota', 'images': 1000, 'size': 128, 'seed': 0},
        measures=('mAP', 'mAP50', 'AP75'),
        key='rotated/{}',
        method='kd-rnet',
    ),
}
COSTS = ('M params', 'GFLOPs', 'images/s')
# What makes it the same training.
DECISIVE = (
    *('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'),
    *('param_scheduler', 'randomness'),
)


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


def run(*command: object) -> None:
    """Run a tool of this folder, and stop with it if it fails."""
    done = subprocess.run([sys.executable, *map(str, command)])
    if done.returncode:
        sys.exit(done.returncode)


def seeded(name: str, seed: int) -> Config:
    """A demo config with its seed, its work dir and the teacher of the same seed."""
    cfg = read_config(f'configs/demo/{name}.py')
    folder = Path(cfg.work_dir).parent / (f'seed_{seed}' if seed else '.')
    cfg.work_dir = str(folder / name)
    cfg.randomness.seed = seed
    if 'teacher_ckpt' in cfg.model:
        teacher = seeded(Path(cfg.model.teacher).stem, seed)
        cfg.model.teacher_ckpt = str(last_checkpoint(teacher))
    return cfg


def last_checkpoint(cfg: Config) -> Path:
    """The checkpoint that a finished training leaves."""
    return Path(cfg.work_dir) / f'epoch_{cfg.train_cfg.max_epochs}.pth'


def train(name: str, cfg: Config) -> None:
    """Train a demo config, or what is left of it.

    Raises:
        ConfigError: if the work dir holds a training of another config.
    """
    work_dir, checkpoint = Path(cfg.work_dir), last_checkpoint(cfg)
    before = work_dir / f'{name}.py'
    if before.is_file() and any(Config.fromfile(before)[k] != cfg[k] for k in DECISIVE):
        raise ConfigError(
            f'{work_dir}: got a training of another config, expected that of '
            f'configs/demo/{name}.py; move it away, or remove it: rm -r {work_dir}'
        )
    if checkpoint.is_file():
        print(f'{name}: already trained, {checkpoint}')
        return
    options = ['--cfg-options', f'randomness.seed={cfg.randomness.seed}']
    if 'teacher_ckpt' in cfg.model:
        options.append(f'model.teacher_ckpt={cfg.model.teacher_ckpt}')
    where = ['--work-dir', cfg.work_dir]
    run('tools/train.py', f'configs/demo/{name}.py', '--resume', *where, *options)


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
    made = [word for key, value in demo.made.items() for word in (f'--{key}', value)]
    run('tools/make_demo_data.py', '--out', demo.data, *made)
    runs = {'teacher': f'{detector}_teacher', 'student alone': f'{detector}_student'}
    runs |= {f'{method} student': f'{method}_{detector}' for method in methods}
    configs = [(label, seeded(name, s)) for s in seeds for label, name in runs.items()]
    for label, cfg in configs:
        train(runs[label], cfg)
    rows: dict[str, list[dict[str, float]]] = {label: [] for label in runs}
    for label, cfg in configs:
        rows[label].append(evaluate(cfg, demo))
    report = demo.work_dir / 'report.html'
    run('tools/report.py', *(cfg.work_dir for _, cfg in configs), '--out', report)
    minutes = (time.monotonic() - start) / 60
    print(f'\nDemo on made images, seeds {seeds}, {minutes:.1f} minutes')
    print(table(rows))
    print(f'\nreport: {report}')


if __name__ == '__main__':
    main()
