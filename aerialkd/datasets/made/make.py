"""Made data sets on disk: whole, reproducible, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from aerialkd.datasets.made.layouts import LAYOUTS
from aerialkd.datasets.manifests import is_complete, write_manifest, writing
from aerialkd.errors import ConfigError
from aerialkd.files import write_whole

MANIFEST = 'made.json'
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
        out: folder; three quarters of the images are to train on (HRSC2016:
            ``trainval``), the others to evaluate on (``test``).
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
        'version': LAYOUTS[layout].version,
    }
    if is_complete(out / MANIFEST, made):
        return out
    with writing(out / MANIFEST):
        if not is_complete(out / MANIFEST, made):
            _make(layout, out, made, progress)
    return out


def _make(layout: str, out: Path, made: dict[str, Any], progress: bool) -> None:
    images, size, seed = made['images'], made['size'], made['seed']
    write_manifest(out / MANIFEST, made, complete=False)
    to_train = round(images * TRAINING_SHARE)
    splits = {'train': range(to_train), 'val': range(to_train, images)}
    bar = tqdm(
        range(images),
        desc=f'making {out}',
        unit='image',
        mininterval=0.5,
        disable=not progress,
    )
    chosen = LAYOUTS[layout]
    for index in bar:
        split = next(name for name, numbers in splits.items() if index in numbers)
        if (out / chosen.done(split, index)).is_file():
            continue
        scene = chosen.render(np.random.default_rng([seed, index]), size)
        for path, content in chosen.files(scene, split, index).items():
            write_whole(out / path, content, durable=False)
    for path, content in chosen.lists(splits).items():
        write_whole(out / path, content, durable=False)
    write_manifest(out / MANIFEST, made, complete=True)


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
