"""Train a detector, plain or distilled; the options are those of MMDetection."""

from __future__ import annotations

import argparse

from mmengine.device import get_device

from aerialkd.cli import add_runner_arguments, load_config, one_line_errors
from aerialkd.engine import build_train_runner, keep_freed_memory, settle_start
from aerialkd.engine.training import ALLOW
from aerialkd.engine.training_lock import TrainingLock
from aerialkd.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_runner_arguments(parser)
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint, or from the last one in the work dir',
    )
    parser.add_argument(
        ALLOW,
        action='store_true',
        help="resume although model, training data or seed are not the checkpoint's",
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    on_cpu = get_device() == 'cpu'
    if on_cpu:
        keep_freed_memory()
    if args.amp:
        if on_cpu:
            raise ConfigError('--amp needs a GPU, none was found; leave it out.')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ConfigError(
                f'{args.config}: --auto-scale-lr needs auto_scale_lr.base_batch_size.'
            )
        cfg.auto_scale_lr.enable = True
    with TrainingLock(cfg):
        settle_start(cfg, args.resume, args.allow_changes)
        build_train_runner(cfg).train()


if __name__ == '__main__':
    main()
