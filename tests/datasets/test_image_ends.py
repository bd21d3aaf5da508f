import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aerialkd.datasets.images import check_image, read_image, read_image_size
from aerialkd.errors import AnnotationError

SUFFIXES = ('jpg', 'png', 'bmp')


@pytest.fixture
def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)
    return Image.fromarray(pixels)


def encoded(picture: Image.Image, suffix: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, {'jpg': 'jpeg'}.get(suffix, suffix), **options)
    return buffer.getvalue()


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('lost', [1, 2, 12, 100, 0.5])
def test_part_of_a_file(
    tmp_path: Path, picture: Image.Image, suffix: str, lost: float
) -> None:
    content = encoded(picture, suffix)
    path = tmp_path / f'a.{suffix}'
    path.write_bytes(content)
    assert read_image_size(path) == (60, 40)
    check_image(path)
    part = content[: -int(lost if lost >= 1 else lost * len(content))]
    path.write_bytes(part)
    for read in (read_image_size, read_image, check_image):
        with pytest.raises(AnnotationError) as error:
            read(path)
        assert error.value.kind == 'truncated image'
        assert str(error.value).startswith(
            f'{path}: truncated image: got {len(part)} bytes without the end of a '
        )
    assert read_image_size(path, complete=False) == (60, 40)


def test_part_of_a_webp_is_refused_at_once(tmp_path: Path, picture) -> None:
    path = tmp_path / 'a.webp'
    path.write_bytes(encoded(picture, 'webp')[:-2])
    with pytest.raises(AnnotationError, match=r'a\.webp: not a readable image'):
        read_image_size(path)


def test_part_of_a_tiff_is_found_on_decoding(tmp_path: Path, picture) -> None:
    path = tmp_path / 'a.tif'
    content = encoded(picture, 'tiff', compression='tiff_lzw')
    # The directory is at the end there: what is lost lies in front of it.
    path.write_bytes(content[:200] + bytes(len(content) - 400) + content[-200:])
    assert read_image_size(path) == (60, 40)
    with pytest.raises(AnnotationError, match=r'a\.tif: not a readable image'):
        check_image(path)


def test_half_a_jpeg_is_what_opencv_takes(tmp_path: Path, picture) -> None:
    """The reason for all this."""
    content = encoded(picture, 'jpg')
    path = tmp_path / 'a.jpg'
    path.write_bytes(content[: len(content) // 2])
    assert cv2.imread(str(path)).shape == (40, 60, 3)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_something_may_follow(tmp_path: Path, picture, suffix: str) -> None:
    path = tmp_path / f'a.{suffix}'
    path.write_bytes(encoded(picture, suffix) + b'\0' * 99 + b'by a camera')
    check_image(path)
    assert read_image_size(path) == (60, 40)


def test_end_of_a_thumbnail_is_not_that_of_the_picture(tmp_path: Path, picture) -> None:
    exif = b'Exif\0\0' + encoded(picture.resize((8, 8)), 'jpg')
    content = encoded(picture, 'jpg', exif=exif)
    assert content.count(b'\xff\xd9') == 2
    path = tmp_path / 'a.jpg'
    path.write_bytes(content[:-300])
    with pytest.raises(AnnotationError, match=r'a\.jpg: truncated image'):
        read_image_size(path)
    path.write_bytes(content + b'\0')
    assert read_image_size(path) == (60, 40)


def test_more_pixels_than_a_jpeg_can_hold(tmp_path: Path, picture) -> None:
    """Otherwise gigabytes of grey would be decoded."""
    content = bytearray(encoded(picture, 'jpg'))
    place = content.index(b'\xff\xc0') + 5
    content[place : place + 4] = b'\xff\xff\xff\xff'
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=r'a\.jpg: truncated image'):
        check_image(path)


@pytest.mark.parametrize('size', [(1, 1), (640, 480), (3000, 2000)])
def test_plain_pictures_are_complete(tmp_path: Path, size: tuple) -> None:
    """Those take the fewest bytes a pixel."""
    for suffix in (*SUFFIXES, 'webp', 'tif'):
        for mode in ('RGB', 'L'):
            path = tmp_path / f'a.{suffix}'
            options = {} if suffix == 'tif' else {'quality': 1, 'progressive': True}
            Image.new(mode, size).save(path, optimize=True, **options)
            assert read_image_size(path) == size


def test_other_depths_are_complete(tmp_path: Path) -> None:
    """Infrared images have 16 bits; OpenCV makes 8 of them."""
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    for name in ('a.png', 'a.tif'):
        assert cv2.imwrite(str(tmp_path / name), pixels)
        check_image(tmp_path / name)
        with pytest.raises(AnnotationError, match='more than 8 bits a channel'):
            read_image(tmp_path / name)


def test_what_only_pillow_decodes(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'  # by its content a PCX
    Image.new('RGB', (8, 8)).save(path, 'PCX')
    with pytest.raises(AnnotationError, match=r'got a PCX file that OpenCV cannot'):
        check_image(path)
