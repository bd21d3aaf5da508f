"""Splits DOTA's scenes into tiles to train and evaluate on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm  # type: ignore[import-untyped]

from aerialkd.datasets.dota_format import CLASSES
from aerialkd.datasets.images import read_image
from aerialkd.datasets.manifests import (
    is_complete,
    read_manifest,
    write_manifest,
    writing,
)
from aerialkd.datasets.tiles.check import LABELS, check_names, check_tiles
from aerialkd.datasets.tiles.counts import TileCounts
from aerialkd.datasets.tiles.plan import ScenePlan, plan_scene, read_boxes
from aerialkd.datasets.tiles.scenes import IMAGES, Scene, find_scenes, fingerprint
from aerialkd.datasets.tiles.settings import TileSettings
from aerialkd.datasets.tiles.windows import Window, scene_windows
from aerialkd.errors import ConfigError
from aerialkd.files import write_whole

MANIFEST = 'tiles.json'
# Beside a scene that is smaller than a tile: the mean of ImageNet, RGB, which the usual
# normalisation turns into 0.
PADDING = (124, 116, 104)
JPEG_QUALITY = 95


def split_dota(
    source: str | Path, out: str | Path, progress: bool = True, **settings: Any
) -> TileCounts:
    """Split scenes into tiles, or make what is missing of them; then read all back.

    After an interruption the same call goes on with the next tile.

    Args:
        source: folder in DOTA's layout, with ``images`` and ``labelTxt``.
        out: folder; receives ``images``, ``labelTxt`` and ``tiles.json``.
        progress: whether to show progress bars.
        settings: sizes, gaps and the others of :class:`TileSettings`.

    Returns:
        What there is, and what became of the objects.

    Raises:
        ConfigError: for settings that do not fit, or a folder that holds something
            else.
        AnnotationError: if an image or annotation is bad, or a tile that is there
            already is not as it should be.

    Example:
        >>> split_dota('DOTA/train', 'DOTA/train_600', sizes=(600,), gaps=(150,))
    """
    source, out = Path(source), Path(out)
    chosen = TileSettings(**settings)
    scenes = find_scenes(source, chosen.labels)
    # What is wrong with annotations is said before there is a folder of some tiles,
    # which would refuse the settings that mend it.
    for scene in [] if (out / MANIFEST).is_file() else scenes:
        read_boxes(scene, chosen)
    made = _made(scenes, chosen)
    is_complete(out / MANIFEST, made)  # or it holds something else
    with writing(out / MANIFEST):
        if not is_complete(out / MANIFEST, made):
            write_manifest(out / MANIFEST, made, complete=False)
        for folder in (IMAGES,) if chosen.labels is None else (IMAGES, LABELS):
            (out / folder).mkdir(exist_ok=True)
        with _bar(f'splitting {source}', scenes, chosen, progress) as bar:
            for scene in scenes:
                _write_tiles(plan_scene(scene, chosen), out, chosen, bar)
        counts = _check(scenes, out, chosen, progress)
        write_manifest(out / MANIFEST, made, complete=True)
    return counts


def verify_tiles(
    source: str | Path, out: str | Path, progress: bool = True
) -> TileCounts:
    """Read finished tiles back and compare them with their scenes.

    Args:
        source: the folder from which they were made.
        out: the folder with the tiles; how they were made is read from it.
        progress: whether to show a progress bar.

    Returns:
        What there is, and what became of the objects.

    Raises:
        ConfigError: if ``out`` holds no finished tiles of ``source``.
        AnnotationError: names the tile that is missing, damaged or of other content.
    """
    source, out = Path(source), Path(out)
    content = read_manifest(out / MANIFEST)
    if content is None or not content['complete']:
        raise ConfigError(
            f'{out}: got no finished tiles, expected those of {source}; split first, '
            'or go on with the same settings.'
        )
    names = {field.name for field in dataclasses.fields(TileSettings)}
    settings = TileSettings(**{k: v for k, v in content.items() if k in names})
    scenes = find_scenes(source, settings.labels)
    is_complete(out / MANIFEST, _made(scenes, settings))
    return _check(scenes, out, settings, progress)


def _made(scenes: Sequence[Scene], settings: TileSettings) -> dict[str, Any]:
    decisive = dataclasses.asdict(settings)
    # Either decides the classes.
    of_version = settings.classes == CLASSES[settings.version]
    del decisive['classes' if of_version else 'version']
    return {
        **decisive,
        'scenes': len(scenes),
        'fingerprint': fingerprint(scenes),
    }


def _check(
    scenes: Sequence[Scene], out: Path, settings: TileSettings, progress: bool
) -> TileCounts:
    counts, names = TileCounts(), set[str]()
    with _bar(f'reading {out} back', scenes, settings, progress) as bar:
        for scene in scenes:
            plan = plan_scene(scene, settings)
            names.update(tile.name for tile in plan.tiles)
            counts.add(plan)
            check_tiles(plan, out, settings)
            bar.update(len(plan.windows))
    check_names(names, out, settings)
    return counts


def _bar(
    text: str, scenes: Sequence[Scene], settings: TileSettings, progress: bool
) -> tqdm:
    windows = (scene_windows(s.size, settings.sizes, settings.gaps) for s in scenes)
    return tqdm(
        total=sum(map(len, windows)),
        desc=text,
        unit='tile',
        mininterval=0.5,
        disable=not progress,
    )


def _write_tiles(plan: ScenePlan, out: Path, settings: TileSettings, bar: tqdm) -> None:
    """Write the tiles of a scene that are not there, each image before its label."""
    image = None
    bar.update(len(plan.windows) - len(plan.tiles))
    for tile in plan.tiles:
        bar.update()
        image_file = out / IMAGES / f'{tile.name}.{settings.image_format}'
        label_file = out / LABELS / f'{tile.name}.txt'
        labelled = plan.scene.label is not None
        if image_file.is_file() and (not labelled or label_file.is_file()):
            continue
        image = image or read_image(plan.scene.image)
        content = _encode(_crop(image, tile.window), settings)
        write_whole(image_file, content, durable=False)
        if labelled:
            write_whole(label_file, tile.label.encode(), durable=False)


def _crop(image: Image.Image, window: Window) -> NDArray[np.uint8]:
    """(size, size, 3), RGB."""
    right = min(window.x + window.size, image.width)
    bottom = min(window.y + window.size, image.height)
    visible = image.crop((window.x, window.y, right, bottom)).convert('RGB')
    tile = np.full((window.size, window.size, 3), PADDING, np.uint8)
    tile[: visible.height, : visible.width] = np.asarray(visible)
    return tile


def _encode(tile: NDArray[np.uint8], settings: TileSettings) -> bytes:
    parameters = {'png': [], 'jpg': [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]}
    encoded = cv2.imencode(
        f'.{settings.image_format}',
        np.ascontiguousarray(tile[..., ::-1]),
        parameters[settings.image_format],
    )[1]
    return bytes(encoded.tobytes())
