"""Finding image files and reading their sizes without decoding them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

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
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = (
                # Pillow decodes a whole PNG to look for EXIF data.
                image.format in ('JPEG', 'MPO')
                and image.getexif().get(_EXIF_ORIENTATION) in _EXIF_QUARTER_TURNS
            )
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise AnnotationError(
            f'{path}: not a readable image: got {error}, expected a complete image '
            'file; replace it, or remove it together with its annotation.'
        ) from error
    return (height, width) if turned else (width, height)
