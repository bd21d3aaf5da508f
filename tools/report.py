"""Compare trainings in one HTML file: measures, curves, pictures, how it was made.

Each work dir's last checkpoint is evaluated once; the result is kept in the work dir.
"""

from __future__ import annotations

import argparse

from aerialkd.cli import add_trust_argument, one_line_errors
from aerialkd.visualization.report import write_report


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', help='work dirs of trainings')
    parser.add_argument('--out', default='report.html', help='file to write')
    parser.add_argument(
        '--no-evaluate',
        action='store_true',
        help='take measures from kept evaluations and training logs alone',
    )
    parser.add_argument(
        '--baseline',
        metavar='NAME',
        help='folder name of the student alone (found by its model by default)',
    )
    parser.add_argument('--device', help='to evaluate on: cpu, cuda:0, ...')
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    out = write_report(
        args.work_dirs, args.out, not args.no_evaluate, args.baseline, args.device
    )
    print(f'{out}: {out.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
