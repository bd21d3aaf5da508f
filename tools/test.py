"""Evaluate a detector; the options are those of MMDetection.

A distilled student is evaluated alone: neither its teacher nor the teacher's
checkpoint is needed.
"""

from __future__ import annotations

import argparse
import copy

from mmdet.engine.hooks.utils import trigger_visualization_hook
from mmdet.evaluation import DumpDetResults
from mmengine.config import Config, ConfigDict
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from aerialkd.cli import add_runner_arguments, load_config, one_line_errors
from aerialkd.engine import load_strictly, load_weights, student_model_cfg
from aerialkd.errors import ConfigError

META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint, .pth or .safetensors')
    add_runner_arguments(parser)
    parser.add_argument('--out', help='pickle file for the predictions')
    parser.add_argument('--show', action='store_true', help='show the detections')
    parser.add_argument('--show-dir', help='folder for images with detections')
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds between shown images'
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    return parser.parse_args()


def add_test_time_augmentation(cfg: Config) -> None:
    """Merge the detections of the image and its mirror image, unless configured."""
    limit = cfg.model.get('test_cfg', {}).get('max_per_img', 100)
    cfg.setdefault(
        'tta_model',
        dict(
            type='mmdet.DetTTAModel',
            tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=limit),
        ),
    )
    if 'tta_pipeline' not in cfg:
        pipeline = copy.deepcopy(cfg.test_dataloader.dataset.pipeline)
        flips = [dict(type='RandomFlip', prob=prob) for prob in (1.0, 0.0)]
        pack = dict(type='PackDetInputs', meta_keys=META_KEYS)
        pipeline[-1] = dict(type='TestTimeAug', transforms=[flips, [pack]])
        cfg.tta_pipeline = pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


@one_line_errors
def main() -> None:
    args = parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise ConfigError(f'--out {args.out}: must end in .pkl or .pickle.')
    cfg = load_config(args)
    cfg.model = student_model_cfg(cfg)
    cfg.load_from, cfg.resume = None, False  # loaded below, strictly
    if args.show or args.show_dir:
        cfg = trigger_visualization_hook(cfg, args)
    weights = load_weights(args.checkpoint)
    if args.tta:
        add_test_time_augmentation(cfg)

    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    load_strictly(model.module if args.tta else model, weights)
    if args.out:
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    main()
