from pathlib import Path

import mmcv
import numpy as np
import pytest
from PIL import Image

from aerialkd.datasets.images import IMAGE_SUFFIXES, find_files, read_image_size
from aerialkd.errors import AnnotationError, ConfigError


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_size_is_that_of_the_decoded_image(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / 'a.jpg'
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path, exif=exif)
    height, width = mmcv.imread(path).shape[:2]
    assert read_image_size(path) == (width, height)


def test_png_without_orientation(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / 'a.png')
    assert read_image_size(tmp_path / 'a.png') == (30, 20)


@pytest.mark.parametrize('content', [b'', b'no image', b'\xff\xd8\xff'])
def test_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'a.jpg').write_bytes(content)
    with pytest.raises(AnnotationError, match=r'a\.jpg: not a readable image'):
        read_image_size(tmp_path / 'a.jpg')


def test_pillow_raises_more_than_os_errors(tmp_path: Path) -> None:
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    content = bytearray((tmp_path / 'a.png').read_bytes())
    content[11] ^= 1  # the length of the header
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(AnnotationError, match=r'a\.png: not a readable image') as error:
        read_image_size(tmp_path / 'a.png')
    assert isinstance(error.value.__cause__, ValueError)


def test_files_by_stem_whatever_the_case(tmp_path: Path) -> None:
    for name in ('b.JPG', 'a.png', 'c.txt', '.hidden.jpg'):
        (tmp_path / name).touch()
    files = find_files(tmp_path, IMAGE_SUFFIXES)
    assert list(files.items()) == [('a', tmp_path / 'a.png'), ('b', tmp_path / 'b.JPG')]


def test_ambiguous_stem_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'nowhere: no such folder; set data_root'):
        find_files(tmp_path / 'nowhere', IMAGE_SUFFIXES)
    for name in ('a.jpg', 'a.png'):
        (tmp_path / name).touch()
    with pytest.raises(AnnotationError, match=r'a\.png: second file of that name'):
        find_files(tmp_path, IMAGE_SUFFIXES)
