"""Draw where a detector finds objects that another one misses, small ones by default.

Takes two work dirs of the same test data. Each one's last checkpoint is evaluated once;
the result is kept in the work dir.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from aerialkd.cli import add_trust_argument, one_line_errors
from aerialkd.errors import ConfigError
from aerialkd.visualization.drawing import check_picture, write_picture
from aerialkd.visualization.gains import find_gains, gains_sheet
from aerialkd.visualization.report.matching import SIZES
from aerialkd.visualization.report.runs import evaluation_of, read_runs


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('before', help='work dir of the detector to compare with')
    parser.add_argument('after', help='work dir of the detector to look at')
    parser.add_argument('--out', default='gains.png', help='picture to write')
    parser.add_argument('--size', choices=SIZES, default='small')
    parser.add_argument('--windows', type=int, default=6, help='how many are drawn')
    parser.add_argument(
        '--side', type=int, default=128, help='of a window, in pixels of the images'
    )
    parser.add_argument('--device', help='to evaluate on: cpu, cuda:0, ...')
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    out = check_picture(Path(args.out))
    if Path(args.before).resolve() == Path(args.after).resolve():
        raise ConfigError(f'{args.after}: got one work dir twice, expected two.')
    before, after = runs = read_runs([Path(args.before), Path(args.after)])
    evaluated = [evaluation_of(run, args.device) for run in runs]
    gains = find_gains(*evaluated, args.size, args.windows, args.side)
    print(gains.summary(args.size))
    write_picture(out, gains_sheet(gains, (before.name, after.name), args.size))
    print(f'{out}: {len(gains.windows)} windows')


if __name__ == '__main__':
    main()
