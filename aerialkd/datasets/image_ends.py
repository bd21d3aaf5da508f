"""Whether an image file is there up to its end, without decoding it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from PIL.ImageFile import ImageFile

from aerialkd.errors import AnnotationError

_END_OF_JPEG = b'\xff\xd9'
_END_OF_PNG = b'IEND\xae\x42\x60\x82'
# A block of 8x8 pixels takes at least a bit, in the sparsest scan of all.
_MOST_PIXELS_A_BYTE = 8 * 64


def check_end(image: ImageFile, path: Path) -> None:
    """Check that a JPEG, PNG or BMP is no part of a file; others pass.

    Pillow itself refuses a part of a WebP; that of a TIFF only decoding finds.

    Args:
        image: opened, not loaded.
        path: the file of it.

    Raises:
        AnnotationError: if the end is missing.
    """
    check = _CHECKS.get(image.format or '')
    if check is None:
        return
    with path.open('rb') as file:
        size = os.fstat(file.fileno()).st_size
        if not check(image, file, size):
            raise AnnotationError.at(
                path,
                'truncated image',
                f'got {size} bytes without the end of a {image.format}, expected a '
                'complete file; replace it, or remove it together with its annotation.',
            )


def _jpeg_ends(image: ImageFile, file: BinaryIO, size: int) -> bool:
    if image.width * image.height > _MOST_PIXELS_A_BYTE * size:
        return False
    file.seek(-2, os.SEEK_END)
    if file.read(2) == _END_OF_JPEG:
        return True
    # Something may follow. A thumbnail in front of the picture has an end too, but
    # behind the first start of scan the marker is nothing else than the end.
    file.seek(0)
    content = file.read()
    place = 2
    while content[place : place + 1] == b'\xff':
        if content[place + 1 : place + 2] == b'\xda':
            return _END_OF_JPEG in content[place:]
        place += 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return False


def _png_ends(image: ImageFile, file: BinaryIO, size: int) -> bool:
    file.seek(-len(_END_OF_PNG), os.SEEK_END)
    if file.read() == _END_OF_PNG:
        return True
    place = 8  # the first chunk: length, name, data, checksum
    while place + 12 <= size:
        file.seek(place)
        head = file.read(8)
        if head[4:] == b'IEND':
            return True
        place += 12 + int.from_bytes(head[:4], 'big')
    return False


def _bmp_ends(image: ImageFile, file: BinaryIO, size: int) -> bool:
    tile = image.tile[0]
    if tile.codec_name != 'raw':
        return True  # run-length coded pixels take as many bytes as they take
    stride: int = tile.args[1]  # type: ignore[index,assignment]
    return tile.offset + stride * image.height <= size


_CHECKS: dict[str, Callable[[ImageFile, BinaryIO, int], bool]] = {
    'JPEG': _jpeg_ends,
    'MPO': _jpeg_ends,
    'PNG': _png_ends,
    'BMP': _bmp_ends,
}
