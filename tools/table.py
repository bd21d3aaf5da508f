"""Print trainings as a Markdown table: measures, parameters, multiply-adds, time.

Work dirs are read as by report.py. Other image sizes, blanked background and test-time
augmentation are rows of their own. What is evaluated is kept in the work dirs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from aerialkd.cli import add_trust_argument, one_line_errors
from aerialkd.engine.staging import staging
from aerialkd.engine.variants import variants
from aerialkd.visualization.markdown_table import markdown_tables


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', help='work dirs of trainings')
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=int,
        default=[],
        help='also on images of these sizes, the longer side where the ratio is kept',
    )
    parser.add_argument(
        '--keep-background',
        nargs='+',
        type=float,
        default=[],
        metavar='K',
        help='also with everything blank outside K times each box',
    )
    parser.add_argument(
        '--tta', action='store_true', help='also with test-time augmentation'
    )
    parser.add_argument(
        '--max-dets',
        type=int,
        help='measures at this many detections an image (default: most measured)',
    )
    parser.add_argument(
        '--classes', action='store_true', help='a second table, AP of each class'
    )
    parser.add_argument('--out', type=Path, help='file to write as well')
    parser.add_argument('--device', help='to evaluate on: cpu, cuda:0, ...')
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    text = markdown_tables(
        args.work_dirs,
        variants(args.sizes, args.keep_background, args.tta),
        args.max_dets,
        args.classes,
        args.device,
    )
    print(text, end='')
    if args.out:
        with staging([args.out], force=True) as folder:
            (folder / args.out.name).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
