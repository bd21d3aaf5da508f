"""Finding image files; reading their sizes without decoding them, or all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from aerialkd.errors import AnnotationError, ConfigError

IMAGE_SUFFIXES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'})
_EXIF_ORIENTATION = 0x0112
_EXIF_QUARTER_TURNS = frozenset({5, 6, 7, 8})


def find_files(folder: str | Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """Files of a folder by stem, in the order of their names.

    Args:
        folder: looked at without its sub-folders.
        suffixes: with the dot, in lower case; files in any case are found.

    Raises:
        ConfigError: if the folder does not exist.
        AnnotationError: if two files have the same stem.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(
            f'{folder}: no such folder; set data_root and data_prefix of the data set '
            'to where it lies.'
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith('.'):
            continue
        if path.stem in files:
            raise AnnotationError(
                f'{path}: second file of that name: got {files[path.stem].name} and '
                f'{path.name}, expected one; remove or rename one of them.'
            )
        files[path.stem] = path
    return files


def read_image_size(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels, as the decoded image will have them.

    Only the header is read. A quarter turn in a JPEG's EXIF orientation counts,
    because OpenCV, hence mmcv, applies it on decoding.

    Raises:
        AnnotationError: if the file is not a readable image.
    """
    with open_image(path) as image:
        width, height = image.size
        turned = _orientation(image) in _EXIF_QUARTER_TURNS
    return (height, width) if turned else (width, height)


def read_image(path: str | Path) -> Image.Image:
    """A decoded image, upright as OpenCV, hence mmcv, decodes it.

    Unlike OpenCV it does not pass over missing data: half a file is an error.

    Raises:
        AnnotationError: if the file is not a complete image of 8 bits a channel.
    """
    with open_image(path) as image:
        if image.mode.startswith(('I', 'F')):
            raise AnnotationError(
                f'{path}: more than 8 bits a channel: got mode {image.mode}, expected '
                'grey or RGB of 8 bits; convert it.'
            )
        image.load()
        turned = _orientation(image) not in (None, 1)
        return ImageOps.exif_transpose(image) if turned else image


@contextlib.contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """An image of any size; nothing but its header is read before it is asked for.

    Raises:
        AnnotationError: if the file is not a readable image, also within the block.
    """
    # Pillow takes an aerial scene of 20000x20000 pixels for an attack.
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(
            f'{path}: not a readable image: got {error}, expected a complete image '
            'file; replace it, or remove it together with its annotation.'
        ) from error
    finally:
        Image.MAX_IMAGE_PIXELS = most


def _orientation(image: Image.Image) -> int | None:
    # Pillow decodes a whole PNG to look for EXIF data.
    if image.format not in ('JPEG', 'MPO'):
        return None
    orientation: int | None = image.getexif().get(_EXIF_ORIENTATION)
    return orientation
