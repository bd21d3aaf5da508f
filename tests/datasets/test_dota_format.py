from pathlib import Path

import cv2
import numpy as np
import pytest
from mmrotate.datasets import DOTADataset, DOTAv2Dataset, DOTAv15Dataset

from aerialkd.datasets.dota_format import (
    CLASSES,
    DotaBox,
    format_line,
    parse_line,
    read_annotations,
)
from aerialkd.errors import AnnotationError

SIZE = (64, 48)
V1 = CLASSES['1.0']
GOOD = '1 2 11 2 11 8 1 8 ship 0'
PLANE = '30 10 50 20 45 30 25 20 plane 1'
BAD_LINES = {
    'no difficult': ('1 2 11 2 11 8 1 8 ship', 'wrong number of fields: got 9'),
    'too many fields': (f'{GOOD} 1', 'wrong number of fields: got 11, expected 10'),
    'other separator': (GOOD.replace(' ', ','), 'wrong number of fields: got 1'),
    'class of two words': (
        '1 2 11 2 11 8 1 8 small vehicle 0',
        'wrong number of fields: got 11',
    ),
    'text in a number': ('1 2 1x 2 11 8 1 8 ship 0', "x2: no finite number: got '1x"),
    'class first': ('ship 1 2 11 2 11 8 1 8 0', "x1: no finite number: got 'ship'"),
    'digit separators': ('1 2 11 2 1_1 8 1 8 ship 0', 'x3: no finite number'),
    'not a number': ('1 nan 11 2 11 8 1 8 ship 0', "y1: no finite number: got 'nan'"),
    'infinite': ('1 2 11 2 11 8 1 inf ship 0', "y4: no finite number: got 'inf'"),
    'overflow': ('1 2 11 1e400 11 8 1 8 ship 0', 'y2: no finite number'),
    'absurd': (
        '1 2 1e200 2 1e200 8 1 8 ship 0',
        'no coordinates of pixels: got 1 2 1e',
    ),
    'unknown class': ('1 2 11 2 11 8 1 8 car 0', "unknown class: got 'car', expected"),
    'class in capitals': ('1 2 11 2 11 8 1 8 Ship 0', "unknown class: got 'Ship'"),
    'unknown difficult': ('1 2 11 2 11 8 1 8 ship 3', "unknown difficult: got '3'"),
    'negative difficult': ('1 2 11 2 11 8 1 8 ship -1', "unknown difficult: got '-1'"),
    'fraction': ('1 2 11 2 11 8 1 8 ship 0.5', "unknown difficult: got '0.5'"),
    'a point': ('5 5 5 5 5 5 5 5 ship 0', 'zero area: got 5 5 5 5'),
    'upright line': ('1 187 1 187 1 219 1 219 ship 2', 'zero area'),
    'slanting line': ('0.1 0.1 0.3 0.3 20.7 20.7 1.1 1.1 ship 0', 'zero area'),
    'right of the image': (
        '64 2 70 2 70 8 64 8 ship 0',
        'box outside the image: got 64 2 70 2 70 8 64 8, expected a part of it',
    ),
    'above the image': ('1 -9 11 -9 11 0 1 0 ship 0', 'box outside the image'),
    'touching': ('-10 10 0 20 -10 30 -20 20 ship 0', 'box outside the image'),
    # Its upright bounds overlap the image, itself does not.
    'past a corner': ('-9 6 6 -9 7 -8 -8 7 ship 0', 'box outside the image'),
}


def parse(line: str, classes: tuple[str, ...] = V1) -> DotaBox:
    return parse_line(line, 'a.txt:3', SIZE, classes)


@pytest.mark.parametrize(('line', 'message'), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_line_is_named(line: str, message: str) -> None:
    with pytest.raises(AnnotationError) as error:
        parse(line)
    assert str(error.value).startswith(f'a.txt:3: {message}')
    assert 'expected' in str(error.value)
    assert 'correct' in str(error.value)


@pytest.mark.parametrize(
    'line',
    [
        GOOD,
        '1.0 2.0 11.0 2.0 11.0 8.0 1.0 8.0 ship 0',
        ' 1\t2 1.1e1  2. 11 8 1 8 ship 0 \r\n',
    ],
)
def test_legal_spellings_mean_the_same(line: str) -> None:
    assert parse(line) == DotaBox((1, 2, 11, 2, 11, 8, 1, 8), 'ship', 0)


@pytest.mark.parametrize(
    'corners',
    [
        '-5 -5 5 -5 5 5 -5 5',
        '-50 -50 150 -50 150 150 -50 150',  # all around the image
        '-20 24 32 -20 84 24 32 90',  # no corner inside
        '-1 6 6 -1 9 2 2 9',
        '1 2 11 8 11 2 1 8',  # a bow tie; its signed area is zero
        '1 2 11 2 11 8 1 2',  # a triangle
    ],
)
def test_boxes_stay_as_they_are(corners: str) -> None:
    expected = tuple(float(number) for number in corners.split())
    assert parse(f'{corners} ship 1').corners == expected


def test_outside_is_what_shares_no_area_with_the_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = np.array([[0, 0], [64, 0], [64, 48], [0, 48]], np.float32)
    verdicts = []
    for _ in range(300):
        box = (rng.uniform(-30, 90, 2), rng.uniform(10, 40, 2), rng.uniform(0, 180))
        points = cv2.boxPoints(box)
        shared = cv2.intersectConvexConvex(points, image)[0]
        corners = rng.permutation(points).ravel()  # their order does not matter
        try:
            parse(f'{" ".join(f"{value:.5f}" for value in corners)} ship 0')
            verdicts.append(True)
        except AnnotationError:
            verdicts.append(False)
        assert verdicts[-1] == (shared > 0)
    assert 100 < sum(verdicts) < 250


@pytest.mark.parametrize(
    ('version', 'name', 'hint'),
    [
        ('1.0', 'container-crane', "since version 1.5: set version='1.5'"),
        ('1.0', 'helipad', "since version 2.0: set version='2.0'"),
        ('1.5', 'airport', "since version 2.0: set version='2.0'"),
    ],
)
def test_class_of_another_version(version: str, name: str, hint: str) -> None:
    with pytest.raises(AnnotationError, match=f'{name}.*{hint}'):
        parse(GOOD.replace('ship', name), CLASSES[version])
    assert parse(GOOD.replace('ship', name), CLASSES['2.0']).name == name


def test_classes_are_those_of_mmrotate() -> None:
    theirs = (DOTADataset, DOTAv15Dataset, DOTAv2Dataset)
    assert list(CLASSES) == ['1.0', '1.5', '2.0']
    assert list(CLASSES.values()) == [item.METAINFO['classes'] for item in theirs]


@pytest.mark.parametrize(
    'header',
    ['', 'imagesource:GoogleEarth\ngsd:0.13\n', 'GSD:null\n', '\nImageSource: a b\n'],
)
def test_header_is_accepted(tmp_path: Path, header: str) -> None:
    file = tmp_path / 'a.txt'
    file.write_text(f'{header}{GOOD}\n')
    assert read_annotations(file, SIZE, V1) == [parse(GOOD)]
    file.write_text(header)
    assert read_annotations(file, SIZE, V1) == []


def test_header_below_an_object_is_none(tmp_path: Path) -> None:
    file = tmp_path / 'a.txt'
    file.write_text(f'{GOOD}\ngsd:0.13\n')
    with pytest.raises(
        AnnotationError, match=r'a\.txt:2: wrong number of fields: got 1'
    ):
        read_annotations(file, SIZE, V1)


def test_file_lines_are_counted_as_editors_do(tmp_path: Path) -> None:
    file = tmp_path / 'a.txt'
    # Byte order mark, Windows line ends, an empty line.
    text = f'gsd:1\r\n{GOOD}\r\n\r\n{PLANE}\r\nx\r\n{GOOD} 1'
    file.write_bytes(b'\xef\xbb\xbf' + text.encode())
    problems: list[AnnotationError] = []
    assert read_annotations(file, SIZE, V1, problems) == [parse(GOOD), parse(PLANE)]
    assert [str(p).split(': ')[0] for p in problems] == [f'{file}:5', f'{file}:6']
    with pytest.raises(AnnotationError, match=r'a\.txt:5: wrong number of fields'):
        read_annotations(file, SIZE, V1)


def test_binary_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / 'a.txt'
    file.write_bytes(b'\xff\xfe1\x00')
    with pytest.raises(AnnotationError, match=r'a\.txt: no readable text file'):
        read_annotations(file, SIZE, V1)


def test_written_lines_are_read_back(seed: int) -> None:
    box = DotaBox((0.12346, -0.00001, 10, 100, 20.5, 1e-5, 30, 4000.25), 'harbor', 2)
    assert format_line(box) == '0.1235 0 10 100 20.5 0 30 4000.25 harbor 2\n'
    rng = np.random.default_rng(seed)
    for _ in range(50):
        corners = tuple(rng.uniform(-5, 60, 8).tolist())
        read = parse(format_line(DotaBox(corners, 'plane', 1)))
        assert (read.name, read.difficult) == ('plane', 1)
        assert read.corners == pytest.approx(corners, abs=5.1e-5)
