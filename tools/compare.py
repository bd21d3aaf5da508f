"""Compare distillation methods on one pair of teacher and student, over seeds.

Trains what is missing, goes on with what was interrupted, leaves alone what is done;
then prints a Markdown table and writes it with every result and an HTML report.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from aerialkd.cli import add_trust_argument, one_line_errors
from aerialkd.comparison.compare import Options, compare
from aerialkd.comparison.trainings import said_to_go_on


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--pair', required=True, help='name of a file in configs/_base_/pairs'
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        default=['all'],
        metavar='NAME',
        help='all that have a config for the pair (the default), or some of them; the '
        'teacher and the student alone always take part',
    )
    parser.add_argument(
        '--seeds', type=int, default=3, metavar='K', help='train with seeds 0 to K - 1'
    )
    parser.add_argument(
        '--only-table', action='store_true', help='train and profile nothing'
    )
    parser.add_argument(
        '--keep-going', action='store_true', help='train the others if one fails'
    )
    parser.add_argument(
        '--no-profile', action='store_true', help='leave the cost of a step out'
    )
    parser.add_argument('--no-report', action='store_true', help='write no HTML')
    parser.add_argument(
        '--paper', action='store_true', help="RDR-KD's table I beside our results"
    )
    parser.add_argument(
        '--from-csv',
        nargs='+',
        type=Path,
        default=[],
        metavar='FILE',
        help='results of earlier comparisons: not trained again, joined with those '
        'here, without a report',
    )
    parser.add_argument(
        '--out', type=Path, help='folder (default: work_dirs/comparison/PAIR)'
    )
    parser.add_argument(
        '--update',
        type=Path,
        metavar='FILE',
        help='Markdown file in which the tables replace those between its markers',
    )
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    options = Options(
        pair=args.pair,
        methods=args.methods,
        seeds=args.seeds,
        train=not args.only_table,
        keep_going=args.keep_going,
        profile=not args.no_profile,
        report=not args.no_report,
        paper=args.paper,
        from_csv=[file.resolve() for file in args.from_csv],
        out=args.out and args.out.resolve(),
        update=args.update and args.update.resolve(),
    )
    os.chdir(Path(__file__).parents[1])  # paths in configs start there
    with said_to_go_on():
        compare(options)


if __name__ == '__main__':
    main()
