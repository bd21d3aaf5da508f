"""Convert weights of an Ultralytics YOLOv8 detector for this package.

Reads a plain state dict (no pickled model) and writes a checkpoint that teacher_ckpt
and load_from take. With --config the weights are loaded into that detector first.
"""

from __future__ import annotations

import argparse

from aerialkd.cli import add_trust_argument, one_line_errors, read_config
from aerialkd.detectors.yolov8.checkpoint import convert_checkpoint


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='plain state dict, .pt, .pth or .safetensors')
    parser.add_argument('out', help='file to write, .pth')
    parser.add_argument(
        '--config', help='config of the detector: checks the size, names the classes'
    )
    parser.add_argument('--force', action='store_true', help='replace an existing file')
    add_trust_argument(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    cfg = read_config(args.config) if args.config else None
    print(convert_checkpoint(args.source, args.out, cfg, args.force))


if __name__ == '__main__':
    main()
