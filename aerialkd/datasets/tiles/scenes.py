"""The scenes of a folder in DOTA's layout."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aerialkd.datasets.foreign_formats import files_hint, folders_hint
from aerialkd.datasets.images import IMAGE_SUFFIXES, find_files, read_image_size
from aerialkd.errors import AnnotationError, ConfigError

IMAGES = 'images'


@dataclass(frozen=True)
class Scene:
    """An image to split.

    Attributes:
        name: the file's stem.
        image: the file.
        label: its annotations; None if there are none to read.
        size: (width, height) in pixels.
    """

    name: str
    image: Path
    label: Path | None
    size: tuple[int, int]


def find_scenes(source: Path, labels: str | None) -> list[Scene]:
    """The images of a folder, each with its annotation file.

    Args:
        source: holds ``images`` and the folder of annotations.
        labels: name of the folder of annotations; None: images only.

    Raises:
        ConfigError: if a folder is missing, or there is no image.
        AnnotationError: if an image cannot be read or has no annotation file.
    """
    for folder in (IMAGES, labels):
        if folder is not None and not (source / folder).is_dir():
            raise ConfigError(
                f"{source / folder}: no such folder, expected DOTA's layout, {IMAGES} "
                f'and {labels or "labelTxt"} in {source}{folders_hint(source, "DOTA")};'
                ' name another source, or the folder of annotations with --labels, or '
                'say --no-labels.'
            )
    images = find_files(source / IMAGES, IMAGE_SUFFIXES)
    if not images:
        raise ConfigError(
            f'{source / IMAGES}: got no image, expected files that end in '
            f'{", ".join(sorted(IMAGE_SUFFIXES))}; name another source.'
        )
    if labels is not None:
        hint = files_hint(source / labels, frozenset({'.txt'}), 'DOTA')
        if hint:
            raise ConfigError(
                f'{source / labels}: got no annotation files, expected a .txt of each '
                f'image{hint}; name their folder with --labels, or say --no-labels.'
            )
    return [
        Scene(
            name,
            image,
            None if labels is None else _label(source / labels, image),
            read_image_size(image),
        )
        for name, image in images.items()
    ]


def fingerprint(scenes: Sequence[Scene]) -> str:
    """A hash of names, sizes and annotations, by which changed scenes are noticed."""
    digest = hashlib.sha256()
    for scene in scenes:
        label = scene.label.read_bytes() if scene.label else b''
        sizes = f'{scene.size} {scene.image.stat().st_size} {len(label)}'
        digest.update(f'{scene.name}\n{sizes}\n'.encode())
        digest.update(label)
    return digest.hexdigest()[:16]


def _label(folder: Path, image: Path) -> Path:
    label = folder / f'{image.stem}.txt'
    if not label.is_file():
        raise AnnotationError(
            f'{label}: no such file, expected the annotations of {image.name}; restore '
            'it (an empty file if there are no objects), or remove the image.'
        )
    return label
