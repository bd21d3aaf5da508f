"""Make a data set of rendered aerial images in the layout of a real one."""

from __future__ import annotations

import argparse

from aerialkd.cli import one_line_errors
from aerialkd.datasets.made import LAYOUTS, make_data


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--layout', choices=LAYOUTS, default='visdrone')
    parser.add_argument('--out', default='data/demo', help='folder to write to')
    parser.add_argument(
        '--images', type=int, default=400, help='train and val together'
    )
    parser.add_argument('--size', type=int, default=192, help='side in pixels')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    out = make_data(args.layout, args.out, args.images, args.size, args.seed)
    print(f'{out}: {args.images} images of {args.size}x{args.size} pixels')


if __name__ == '__main__':
    main()
