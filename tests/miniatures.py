"""Data sets of a few small images in their native layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np


def write_visdrone(
    root: Path,
    images: Mapping[str, Sequence[str]],
    size: tuple[int, int] = (64, 48),
) -> Path:
    """Write ``images`` and ``annotations`` under ``root``.

    Args:
        root: made if it does not exist.
        images: lines of each image's annotation, by the image's file name.
        size: width and height of the images.
    """
    (root / 'images').mkdir(parents=True, exist_ok=True)
    (root / 'annotations').mkdir(exist_ok=True)
    for index, (name, lines) in enumerate(images.items()):
        pixels = np.full((size[1], size[0], 3), 40 + index, np.uint8)
        # cv2 chooses the encoder by the ending, in lower case only.
        encoded = cv2.imencode(Path(name).suffix.lower(), pixels)[1]
        (root / 'images' / name).write_bytes(encoded.tobytes())
        text = ''.join(f'{line}\n' for line in lines)
        (root / 'annotations' / f'{Path(name).stem}.txt').write_text(text)
    return root
