"""Evaluate a detector; the options are those of MMDetection.

A distilled student is evaluated alone: neither its teacher nor the teacher's
checkpoint is needed.
"""

from __future__ import annotations

import argparse

from aerialkd.cli import add_runner_arguments, load_config, one_line_errors
from aerialkd.engine.evaluate import build_test_runner
from aerialkd.engine.format_only import write_files_only
from aerialkd.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint, .pth or .safetensors')
    add_runner_arguments(parser)
    parser.add_argument('--out', help='pickle file for the predictions')
    parser.add_argument(
        '--format-only',
        metavar='PREFIX',
        help='write the files that benchmarks take, PREFIX..., and measure nothing: '
        'for images without annotations',
    )
    parser.add_argument('--show', action='store_true', help='show the detections')
    parser.add_argument('--show-dir', help='folder for images with detections')
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds between shown images'
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    return parser.parse_args()


@one_line_errors
def main() -> None:
    # Behind aerialkd, which decides who computes the operators that mmdet imports.
    from mmdet.engine.hooks.utils import trigger_visualization_hook
    from mmdet.evaluation import DumpDetResults

    args = parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise ConfigError(f'--out {args.out}: must end in .pkl or .pickle.')
    cfg = load_config(args)
    if args.show or args.show_dir:
        cfg = trigger_visualization_hook(cfg, args)
    if args.format_only is not None:
        write_files_only(cfg, args.format_only)
    runner = build_test_runner(cfg, args.checkpoint, args.tta)
    if args.out:
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    main()
