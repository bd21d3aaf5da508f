"""Draw what a detector sees in an image, or what student and teacher see differently.

For each pyramid level: activations, their difference, and what each loss looks at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction

from aerialkd.cli import add_trust_argument, one_line_errors, read_config
from aerialkd.visualization.drawing import check_picture, write_picture
from aerialkd.visualization.features import feature_sheet, feature_views


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, of a distillation or a detector')
    parser.add_argument('checkpoint', help='checkpoint, .pth or .safetensors')
    parser.add_argument('image', help='image file')
    parser.add_argument('--out', default='features.png', help='picture to write')
    parser.add_argument(
        '--teacher-checkpoint', help="instead of the config's teacher_ckpt"
    )
    parser.add_argument(
        '--record', help='recorder to show (the first that holds maps by default)'
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
    views = feature_views(
        cfg,
        args.checkpoint,
        args.image,
        device=args.device,
        teacher_checkpoint=args.teacher_checkpoint,
        record=args.record,
    )
    sheet = feature_sheet(views)
    write_picture(out, sheet)
    print(f'{out}: {sheet.shape[1]}x{sheet.shape[0]}, {len(views.levels)} levels')
    for note in views.notes:
        print(f'note: {note}')


if __name__ == '__main__':
    main()
