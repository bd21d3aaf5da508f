"""Find every defect of a data set, and count its objects."""

from __future__ import annotations

import argparse
import sys

from aerialkd.cli import one_line_errors
from aerialkd.datasets.checking import LAYOUTS, VERSIONS, check_dataset


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog='Exit status: 0 nothing wrong, 1 defects, 2 usage.'
    )
    parser.add_argument('layout', choices=LAYOUTS)
    parser.add_argument(
        'folders',
        nargs='+',
        metavar='FOLDER',
        help='a data set in this layout, or a folder whose sub-folders are such',
    )
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        '--version', choices=VERSIONS, help='of DOTA; decides the classes (1.0)'
    )
    classes.add_argument(
        '--classes',
        nargs='+',
        help='those of your own data; where files number them, in the order of numbers',
    )
    parser.add_argument(
        '--workers', type=int, help='images decoded at a time (number of processors)'
    )
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    report = check_dataset(
        args.layout,
        *args.folders,
        version=args.version,
        classes=args.classes,
        workers=args.workers,
        progress=not args.quiet,
    )
    print('\n'.join(report.lines()))
    sys.exit(1 if report.defects else 0)


if __name__ == '__main__':
    main()
