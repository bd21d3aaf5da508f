"""Get the student out: plain weights, a plain config, and ONNX if asked for.

The result needs MMDetection (or MMRotate) alone. It is compared with the source
student before any file appears.
"""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from aerialkd.cli import add_trust_argument, one_line_errors, read_config
from aerialkd.export.onnx_export import OnnxOptions
from aerialkd.export.student import export_student


def parse_args() -> argparse.Namespace:
    default = OnnxOptions()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the distillation or of the detector')
    parser.add_argument('checkpoint', help='its weights, .pth or .safetensors')
    parser.add_argument(
        '--out',
        required=True,
        help='file to write, .pth; .safetensors and .py beside it',
    )
    parser.add_argument(
        '--classes', nargs='+', help='class names, if no file states them'
    )
    parser.add_argument('--force', action='store_true', help='replace existing files')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument(
        '--onnx', action='store_true', help='write .onnx and .onnx.json'
    )
    parser.add_argument(
        '--onnx-size',
        type=int,
        nargs=2,
        default=default.size,
        metavar=('H', 'W'),
        help='size to trace at; the graph runs at others, too (default: %(default)s)',
    )
    parser.add_argument(
        '--opset', type=int, default=default.opset, help='default: %(default)s'
    )
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options)
    onnx = OnnxOptions(tuple(args.onnx_size), args.opset) if args.onnx else None
    print(
        export_student(
            cfg, args.checkpoint, args.out, args.classes, args.force, onnx=onnx
        )
    )


if __name__ == '__main__':
    main()
