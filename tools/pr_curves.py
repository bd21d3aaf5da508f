"""Draw precision over recall of trainings: a row a class, a column an object size.

Each work dir's last checkpoint is evaluated once; the result is kept in the work dir.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from aerialkd.cli import add_trust_argument, one_line_errors
from aerialkd.visualization.drawing import check_picture, write_picture
from aerialkd.visualization.pr_curves import pr_curves
from aerialkd.visualization.report.matching import SIZES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', help='work dirs of trainings')
    parser.add_argument('--classes', nargs='+', required=True, help='names')
    parser.add_argument(
        '--sizes', nargs='+', choices=SIZES, default=['small', 'medium', 'all']
    )
    parser.add_argument('--iou', type=float, default=0.5, help='.5, .55, ..., .95')
    parser.add_argument('--out', default='pr.png', help='picture to write')
    parser.add_argument('--device', help='to evaluate on: cpu, cuda:0, ...')
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    out = check_picture(Path(args.out))
    picture = pr_curves(args.work_dirs, args.classes, args.sizes, args.iou, args.device)
    write_picture(out, picture)
    print(f'{out}: {picture.shape[1]}x{picture.shape[0]}')


if __name__ == '__main__':
    main()
