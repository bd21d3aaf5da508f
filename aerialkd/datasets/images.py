"""Finding image files; reading their sizes without decoding them, or all of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import mmcv
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from aerialkd.datasets.image_ends import check_end
from aerialkd.errors import AnnotationError, ConfigError

IMAGE_SUFFIXES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'})
_EXIF_ORIENTATION = 0x0112
_EXIF_QUARTER_TURNS = frozenset({5, 6, 7, 8})
_opening = threading.Lock()


def find_files(
    folder: str | Path,
    suffixes: frozenset[str],
    problems: list[AnnotationError] | None = None,
) -> dict[str, Path]:
    """Files of a folder by stem, in the order of their names.

    Args:
        folder: looked at without its sub-folders.
        suffixes: with the dot, in lower case; files in any case are found.
        problems: receives the errors of files that are left out.

    Raises:
        ConfigError: if the folder does not exist.
        AnnotationError: without ``problems``, if two files have the same stem.
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
            error = AnnotationError.at(
                path,
                'second file of that name',
                f'got {files[path.stem].name} and {path.name}, expected one; remove or '
                'rename one of them.',
            )
            if problems is None:
                raise error
            problems.append(error)
            continue
        files[path.stem] = path
    return files


def read_image_size(path: str | Path, complete: bool = True) -> tuple[int, int]:
    """Width and height in pixels, as the decoded image will have them.

    Only the header and the end are read. A quarter turn in a JPEG's EXIF orientation
    counts, because OpenCV, hence mmcv, applies it on decoding.

    Args:
        path: the image file.
        complete: whether the end of the file must be there: OpenCV decodes half a JPEG
            to an image that is half grey, without a word.

    Raises:
        AnnotationError: if the file is not a readable image.
    """
    with open_image(path) as image:
        if complete:
            check_end(image, Path(path))
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
            raise AnnotationError.at(
                path,
                'more than 8 bits a channel',
                f'got mode {image.mode}, expected grey or RGB of 8 bits; convert it.',
            )
        check_end(image, Path(path))
        image.load()
        turned = _orientation(image) not in (None, 1)
        return ImageOps.exif_transpose(image) if turned else image


def check_image(path: str | Path) -> None:
    """Decode an image to see whether that works, with Pillow and as mmcv does.

    Raises:
        AnnotationError: if the file is not a complete image, or one that mmcv cannot
            decode.
    """
    with open_image(path) as image:
        check_end(image, Path(path))
        image.load()
        if mmcv.imfrombytes(Path(path).read_bytes(), flag='color') is None:
            raise AnnotationError.at(
                path,
                'not a readable image',
                f'got a {image.format} file that OpenCV cannot decode, expected one '
                'that it can; convert it, for example to PNG.',
            )


@contextlib.contextmanager
def open_image(path: str | Path) -> Iterator[ImageFile]:
    """An image of any size; nothing but its header is read before it is asked for.

    Raises:
        AnnotationError: if the file is not a readable image, also within the block.
    """
    try:
        with _open(path) as image:
            yield image
    except AnnotationError:
        raise
    # A damaged file makes Pillow's parsers run into almost any exception.
    except Exception as error:
        raise AnnotationError.at(
            path,
            'not a readable image',
            f'got {error}, expected a complete image file; replace it, or remove it '
            'together with its annotation.',
        ) from error


def _open(path: str | Path) -> ImageFile:
    # Pillow takes an aerial scene of 20000x20000 pixels for an attack.
    with _opening:
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = most


def _orientation(image: Image.Image) -> int | None:
    # Pillow decodes a whole PNG to look for EXIF data.
    if image.format not in ('JPEG', 'MPO'):
        return None
    orientation: int | None = image.getexif().get(_EXIF_ORIENTATION)
    return orientation
