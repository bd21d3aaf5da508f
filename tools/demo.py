"""The demo: made images, a teacher, a student alone, the same student distilled.

Everything lands under work_dirs/demo. Interrupted and started again, it goes on where
it was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from aerialkd.cli import one_line_errors, read_config
from aerialkd.engine.evaluate import build_test_runner

ROOT = Path(__file__).parents[1]
RUNS = {
    'teacher': 'retinanet_teacher',
    'student alone': 'retinanet_student',
    'distilled student': 'pkd_retinanet',
}
MEASURES = ('AP', 'AP50', 'AP75', 'AP_S', 'AP_M')


def run(*command: object) -> None:
    """Run a tool of this folder, and stop with it if it fails."""
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)


def train(name: str) -> Path:
    """Train a demo config, or what is left of it; returns its last checkpoint."""
    config = f'configs/demo/{name}.py'
    cfg = read_config(ROOT / config)
    work_dir = ROOT / cfg.work_dir
    checkpoint = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    if checkpoint.is_file():
        print(f'{name}: already trained, {checkpoint.relative_to(ROOT)}')
    else:
        resume = ['--resume'] if (work_dir / 'last_checkpoint').is_file() else []
        run('tools/train.py', config, *resume)
    return checkpoint


def evaluate(name: str, checkpoint: Path) -> dict[str, float]:
    """Measures of a checkpoint and the parameters of its detector."""
    cfg = read_config(ROOT / f'configs/demo/{name}.py')
    cfg.work_dir = str(ROOT / cfg.work_dir)
    cfg.log_level = 'WARNING'
    cfg.visualizer.name = name  # mmengine keeps one of each name in a process
    runner = build_test_runner(cfg, str(checkpoint))
    metrics = runner.test()
    row = {key: 100 * metrics[f'visdrone/{key}@500'] for key in MEASURES}
    millions = sum(parameter.numel() for parameter in runner.model.parameters()) / 1e6
    return {**row, 'M params': millions}


def table(rows: dict[str, dict[str, float]]) -> str:
    """Rows by name as an aligned text table."""
    columns = list(next(iter(rows.values())))
    lines = [f'{"":<18}' + ''.join(f'{column:>10}' for column in columns)]
    for name, row in rows.items():
        lines.append(f'{name:<18}' + ''.join(f'{row[c]:10.2f}' for c in columns))
    return '\n'.join(lines)


@one_line_errors
def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    start = time.monotonic()
    made = (
        '--layout',
        'visdrone',
        '--out',
        'data/demo',
        '--images',
        400,
        '--size',
        192,
    )
    run('tools/make_demo_data.py', *made, '--seed', 0)
    checkpoints = {name: train(name) for name in RUNS.values()}
    rows = {label: evaluate(name, checkpoints[name]) for label, name in RUNS.items()}
    minutes = (time.monotonic() - start) / 60
    print(f'\nDemo on made images, one seed, {minutes:.1f} minutes')
    print(table(rows))
    print('\nwork_dirs/demo holds the checkpoints and logs.')


if __name__ == '__main__':
    main()
