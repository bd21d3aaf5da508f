"""Split the scenes of DOTA into tiles, with their annotations."""

from __future__ import annotations

import argparse

from aerialkd.cli import one_line_errors
from aerialkd.datasets.dota_tiles import split_dota, verify_tiles
from aerialkd.datasets.tiles.settings import CHOICES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder with images and labelTxt')
    parser.add_argument('--out', required=True, help='folder to write to')
    parser.add_argument(
        '--verify-only', action='store_true', help='read finished tiles back'
    )
    parser.add_argument(
        '--sizes', type=int, nargs='+', default=[600], help='sides in pixels'
    )
    parser.add_argument(
        '--gaps', type=int, nargs='+', default=[150], help='overlaps, one for each size'
    )
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        '--version',
        choices=CHOICES['version'],
        default='1.0',
        help='of DOTA; decides the classes',
    )
    classes.add_argument('--classes', nargs='+', help='those of your own data')
    parser.add_argument(
        '--kept-share',
        type=float,
        default=0.7,
        help='part of its area with which an object belongs to a tile',
    )
    parser.add_argument(
        '--cut',
        choices=CHOICES['cut'],
        default='clip',
        help='what to write of an object that reaches over the border',
    )
    parser.add_argument(
        '--small-parts',
        choices=CHOICES['small_parts'],
        default='drop',
        help='objects of which a tile holds less than the kept share',
    )
    parser.add_argument(
        '--empty-tiles',
        choices=CHOICES['empty_tiles'],
        default='keep',
        help='tiles without objects; an evaluation needs them',
    )
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        '--labels', default='labelTxt', help='folder of annotations in the source'
    )
    labels.add_argument(
        '--no-labels',
        dest='labels',
        action='store_const',
        const=None,
        help='images only, as of the test set',
    )
    parser.add_argument(
        '--image-format',
        choices=CHOICES['image_format'],
        default='png',
        help='png loses nothing, jpg is several times smaller',
    )
    parser.add_argument(
        '--bad-annotations', choices=CHOICES['bad_annotations'], default='error'
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    settings = vars(parse_args())
    source, out = settings.pop('source'), settings.pop('out')
    if settings.pop('verify_only'):
        counts = verify_tiles(source, out)
    else:
        counts = split_dota(source, out, **settings)
    print('\n'.join([f'{out}: complete', *counts.lines()]))


if __name__ == '__main__':
    main()
