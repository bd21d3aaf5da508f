"""Profile a distilled training step on made input.

Prints the medians of interleaved repetitions: a plain student step, the teacher's
forward pass, the whole distilled step, each distillation loss, peak memory, and what
the whole costs against student + teacher.
"""

from __future__ import annotations

import argparse

import torch
from mmengine.config import DictAction
from mmengine.registry import MODELS, init_default_scope

from aerialkd.cli import add_trust_argument, one_line_errors, read_config
from aerialkd.engine import keep_freed_memory, model_cfg, without_pretrained
from aerialkd.engine.profile import made_batch, profile_step
from aerialkd.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a distillation')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(512, 512), metavar=('H', 'W')
    )
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--boxes', type=int, default=200, help='objects an image')
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options)
    if 'teacher' not in cfg.get('model', {}):
        raise ConfigError(
            f'{args.config}: is no distillation, there is no model.teacher.'
        )
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    if args.device == 'cpu':
        keep_freed_memory()  # as a training does
    # Time does not depend on the weights.
    cfg.model.teacher_ckpt = None
    cfg.model.teacher = without_pretrained(model_cfg(cfg.model.teacher))
    model = MODELS.build(cfg.model).to(args.device)
    data = made_batch(model, args.batch_size, tuple(args.size), args.boxes)
    print(
        f'{args.config}: {args.batch_size} images of {args.size[0]}x{args.size[1]}, '
        f'{args.boxes} boxes each, {args.device}, {torch.get_num_threads()} threads'
    )
    print(profile_step(model, data, args.repeats))


if __name__ == '__main__':
    main()
