"""Profile a distilled training step on made input, or on a batch of the training data.

Prints the medians of interleaved repetitions: a plain student step, the teacher's
forward pass, the whole distilled step, each distillation loss, peak memory, and what
the whole costs against student + teacher.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from mmengine.config import DictAction

from aerialkd.cli import add_trust_argument, one_line_errors, read_config
from aerialkd.engine import keep_freed_memory
from aerialkd.engine.machine import machine
from aerialkd.engine.profile import made_batch, profile_step
from aerialkd.engine.profiled import profiled_model, training_batch
from aerialkd.files import write_whole


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a distillation')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(512, 512), metavar=('H', 'W')
    )
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--boxes', type=int, default=200, help='objects an image')
    parser.add_argument(
        '--training-batch',
        action='store_true',
        help='the first images of the training data, in a batch of their size',
    )
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu'
    )
    parser.add_argument('--threads', type=int, help="of torch (default: torch's own)")
    parser.add_argument('--json', type=Path, help='file to write as well')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.device == 'cpu':
        keep_freed_memory()  # as a training does
    model = profiled_model(cfg, args.device)
    if args.training_batch:
        data = training_batch(model, cfg)
    else:
        data = made_batch(model, args.batch_size, tuple(args.size), args.boxes)
    number, _, height, width = data['inputs'].shape
    boxes = sum(len(s.gt_instances.bboxes) for s in data['data_samples']) / number
    batch = f'{number} images of {height}x{width}, {boxes:.0f} boxes each'
    threads = torch.get_num_threads()
    print(f'{args.config}: {batch}, {args.device}, {threads} threads')
    profile = profile_step(model, data, args.repeats)
    print(profile)
    if args.json:
        made_on = dict(batch=batch, machine=machine(args.device, threads))
        text = json.dumps(profile.summary() | made_on, indent=1)
        write_whole(args.json, f'{text}\n'.encode())


if __name__ == '__main__':
    main()
