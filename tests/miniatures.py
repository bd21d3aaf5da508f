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
    return _write(root, 'images', 'annotations', images, size)


def write_dota(
    root: Path,
    images: Mapping[str, Sequence[str]],
    size: tuple[int, int] = (64, 48),
) -> Path:
    """Likewise ``images`` and ``labelTxt``."""
    return _write(root, 'images', 'labelTxt', images, size)


def hrsc_object(box: Sequence[float] = (30, 20, 20, 8, 0.5), **fields: object) -> str:
    """An ``HRSC_Object``.

    Args:
        box: cx, cy, w, h and angle.
        fields: instead of the usual ones; None leaves one out.
    """
    names = ('mbox_cx', 'mbox_cy', 'mbox_w', 'mbox_h', 'mbox_ang')
    usual = {'Class_ID': 100000001, 'truncated': 0, 'difficult': 0}
    usual |= dict(zip(names, box, strict=True)) | {'header_x': 1, 'header_y': 2}
    texts = (f'<{k}>{v}</{k}>' for k, v in {**usual, **fields}.items() if v is not None)
    return f'<HRSC_Object>{"".join(texts)}</HRSC_Object>'


def hrsc_xml(objects: Sequence[str], size: tuple[int, int] = (64, 48)) -> str:
    """An annotation file of HRSC2016, an object a line from line 5 on."""
    lines = ''.join(f'{item}\n' for item in objects)
    return (
        f'<HRSC_Image>\n<Img_SizeWidth>{size[0]}</Img_SizeWidth>\n'
        f'<Img_SizeHeight>{size[1]}</Img_SizeHeight>\n'
        f'<HRSC_Objects>\n{lines}</HRSC_Objects>\n</HRSC_Image>\n'
    )


def write_hrsc2016(
    root: Path,
    images: Mapping[str, Sequence[str]],
    size: tuple[int, int] = (64, 48),
) -> Path:
    """Write ``FullDataSet`` and ``ImageSets/trainval.txt``; ``images`` as in the list.

    Args:
        root: made if it does not exist.
        images: objects of each image, by the image's file name.
        size: width and height of the images.
    """
    texts = {name: [hrsc_xml(objects, size)] for name, objects in images.items()}
    folder = root / 'FullDataSet'
    _write(folder, 'AllImages', 'Annotations', texts, size, '.xml')
    (root / 'ImageSets').mkdir(exist_ok=True)
    stems = ''.join(f'{Path(name).stem}\n' for name in images)
    (root / 'ImageSets' / 'trainval.txt').write_text(stems)
    return root


def _write(
    root: Path,
    img_folder: str,
    ann_folder: str,
    images: Mapping[str, Sequence[str]],
    size: tuple[int, int],
    suffix: str = '.txt',
) -> Path:
    (root / img_folder).mkdir(parents=True, exist_ok=True)
    (root / ann_folder).mkdir(exist_ok=True)
    for index, (name, lines) in enumerate(images.items()):
        pixels = np.full((size[1], size[0], 3), 40 + index, np.uint8)
        # cv2 chooses the encoder by the ending, in lower case only.
        encoded = cv2.imencode(Path(name).suffix.lower(), pixels)[1]
        (root / img_folder / name).write_bytes(encoded.tobytes())
        text = ''.join(f'{line}\n' for line in lines)
        (root / ann_folder / f'{Path(name).stem}{suffix}').write_text(text)
    return root
