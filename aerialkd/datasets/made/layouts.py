"""Made data sets on disk, in the native layouts of real ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from aerialkd.datasets.made.scene import Scene, SceneObject, render_scene
from aerialkd.datasets.visdrone_format import CLASSES, IGNORED_REGION
from aerialkd.errors import ConfigError

VERSION = 1  # of the pictures; another one makes other pictures from the same seed
MANIFEST = 'made.json'
JPEG_QUALITY = 92
TRAINING_SHARE = 0.75
_MIN_IMAGES, _MIN_SIZE = 4, 64


def make_data(
    layout: str,
    out: str | Path,
    images: int,
    size: int,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Make a data set, or what is missing of it.

    Equal arguments make equal files. A folder that is complete is left as it is;
    after an interruption the same call goes on with the next image.

    Args:
        layout: key of ``LAYOUTS``.
        out: folder; three quarters of the images come to ``train``, the others to
            ``val``.
        images: number of both together.
        size: side in pixels.
        seed: decides everything.
        progress: whether to show a progress bar.

    Returns:
        ``out``.

    Raises:
        ConfigError: for arguments that do not fit, or a folder that holds
            something else.
    """
    _check_arguments(layout, images, size, seed)
    out = Path(out)
    made = {
        'layout': layout,
        'images': images,
        'size': size,
        'seed': seed,
        'version': VERSION,
    }
    if _is_complete(out, made):
        return out
    _write_manifest(out, {**made, 'complete': False})
    number_to_train = round(images * TRAINING_SHARE)
    bar = tqdm(
        range(images),
        desc=f'making {out}',
        unit='image',
        mininterval=0.5,
        disable=not progress,
    )
    for index in bar:
        split = 'train' if index < number_to_train else 'val'
        LAYOUTS[layout](out / split, index, size, seed)
    _write_manifest(out, {**made, 'complete': True})
    return out


def write_visdrone_image(folder: Path, index: int, size: int, seed: int) -> None:
    """Render a scene to ``images`` and ``annotations``, unless it is there."""
    stem = f'{index:07d}'
    annotation = folder / 'annotations' / f'{stem}.txt'
    if annotation.is_file():
        return
    scene = render_scene(np.random.default_rng([seed, index]), size)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    encoded = cv2.imencode('.jpg', scene.image, options)[1]
    # The annotation comes last: where it is, the image is whole.
    _write(folder / 'images' / f'{stem}.jpg', encoded.tobytes())
    _write(annotation, visdrone_annotation(scene).encode())


def visdrone_annotation(scene: Scene) -> str:
    """Text of a scene's annotation file, ignored regions behind the objects."""
    lines = [_visdrone_line(item) for item in scene.objects]
    lines += [
        f'{x1},{y1},{x2 - x1},{y2 - y1},0,{IGNORED_REGION},0,0'
        for x1, y1, x2, y2 in scene.ignored
    ]
    return ''.join(f'{line}\n' for line in lines)


def _visdrone_line(item: SceneObject) -> str:
    x1, y1, x2, y2 = item.box
    category = CLASSES.index(item.name) + 1
    truncation = int(item.truncation > 0)
    # None, up to half, more than half; a few hidden pixels are none.
    occlusion = int(np.digitize(item.occlusion, [0.05, 0.5]))
    return f'{x1},{y1},{x2 - x1},{y2 - y1},1,{category},{truncation},{occlusion}'


LAYOUTS: dict[str, Callable[[Path, int, int, int], None]] = {
    'visdrone': write_visdrone_image,
}


def _check_arguments(layout: str, images: int, size: int, seed: int) -> None:
    if layout not in LAYOUTS:
        raise ConfigError(
            f'layout: got {layout!r}, expected one of {", ".join(LAYOUTS)}.'
        )
    for name, value, least in (
        ('images', images, _MIN_IMAGES),
        ('size', size, _MIN_SIZE),
        ('seed', seed, 0),
    ):
        if value < least:
            raise ConfigError(f'{name}: got {value}, expected at least {least}.')


def _is_complete(out: Path, made: dict) -> bool:
    """Whether ``out`` holds all of it.

    Raises:
        ConfigError: if it holds something else.
    """
    remedy = f'choose another --out, or remove the folder first: rm -r {out}'
    manifest = out / MANIFEST
    if not manifest.is_file():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise ConfigError(f'{out}: got something that was not made here; {remedy}.')
        return False
    try:
        found = json.loads(manifest.read_text())
        complete = found.pop('complete')
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f'{manifest}: not a manifest ({error}); {remedy}.') from error
    if found != made:
        raise ConfigError(f'{out}: got images of {found}, expected {made}; {remedy}.')
    return bool(complete)


def _write_manifest(out: Path, content: dict) -> None:
    _write(out / MANIFEST, (json.dumps(content, indent=2) + '\n').encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    part.write_bytes(content)
    os.replace(part, path)
