"""Merge the detections of tiles, in Task1 files, into those of DOTA's scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

from aerialkd.cli import one_line_errors
from aerialkd.datasets.class_lists import class_list
from aerialkd.datasets.dota_format import CLASSES
from aerialkd.errors import ConfigError
from aerialkd.evaluation.task1 import class_counts, read_task1, write_task1, zip_task1
from aerialkd.evaluation.tile_merging import merge_tiles


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('task1', help='folder with Task1_CLASS.txt files of tiles')
    parser.add_argument('--out', required=True, help='folder for those of the scenes')
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        '--version', choices=CLASSES, default='1.0', help='of DOTA; decides the classes'
    )
    classes.add_argument('--classes', nargs='+', help='those of your own data')
    parser.add_argument(
        '--iou-threshold',
        type=float,
        default=0.1,
        help='overlap above which a detection is a duplicate',
    )
    parser.add_argument(
        '--zip', action='store_true', help="also write OUT.zip for DOTA's server"
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    classes = class_list(args.classes or CLASSES[args.version], '--classes')
    if Path(args.out).resolve() == Path(args.task1).resolve():
        raise ConfigError(f'--out: got {args.out}, expected another folder than TASK1.')
    tiles = read_task1(args.task1, classes)
    scenes = merge_tiles(tiles, args.iou_threshold)
    write_task1(args.out, scenes, classes)
    print(f'{args.out}: {len(tiles)} tiles with detections, {len(scenes)} scenes')
    width = max([20, *(len(name) + 1 for name in classes)])
    print(f'{"class":{width}}{"of tiles":>12}{"of scenes":>12}')
    before, after = class_counts(tiles, classes), class_counts(scenes, classes)
    for name, old, new in zip(classes, before, after, strict=True):
        print(f'{name:{width}}{old:12}{new:12}')
    print(f'{"total":{width}}{before.sum():12}{after.sum():12}')
    if args.zip:
        print(zip_task1(args.out, classes))


if __name__ == '__main__':
    main()
