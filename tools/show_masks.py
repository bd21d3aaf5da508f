"""Draw what a method selects in an image, at each pyramid level.

The teacher's attention, masks and weights of objects and background; needs the teacher,
but no trained student.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction

from aerialkd.cli import add_trust_argument, one_line_errors, read_config
from aerialkd.visualization.drawing import check_picture, write_picture
from aerialkd.visualization.masks import mask_sheet, mask_views


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a distillation')
    parser.add_argument('image', help='image file')
    parser.add_argument('--out', default='masks.png', help='picture to write')
    parser.add_argument(
        '--teacher-checkpoint', help="instead of the config's teacher_ckpt"
    )
    parser.add_argument('--device', default='cpu', help='cpu, cuda:0, ...')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    out = check_picture(Path(args.out))
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options)
    views = mask_views(
        cfg,
        args.image,
        device=args.device,
        teacher_checkpoint=args.teacher_checkpoint,
    )
    sheet = mask_sheet(views)
    write_picture(out, sheet)
    print(f'{out}: {sheet.shape[1]}x{sheet.shape[0]}, {len(views.levels)} levels')
    for note in views.notes:
        print(f'note: {note}')


if __name__ == '__main__':
    main()
