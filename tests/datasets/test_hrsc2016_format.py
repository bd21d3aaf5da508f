import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmrotate.structures.bbox import rbox2qbox

from aerialkd.datasets.hrsc2016_format import HrscObject, read_objects
from aerialkd.errors import AnnotationError
from tests.miniatures import hrsc_object, hrsc_xml

SIZE = (64, 48)
IDS = ('100000001', '100000002', '100000005')
GOOD, OTHER = hrsc_object(), hrsc_object((30, 20, 20, 9, 0.5))
BAD_OBJECTS = {
    'no class': (hrsc_object(Class_ID=None), 'Class_ID: missing element'),
    'no centre': (hrsc_object(mbox_cx=None), 'mbox_cx: missing element: got none in'),
    'no flag': (hrsc_object(difficult=None), 'difficult: missing element'),
    'unknown class': (
        hrsc_object(Class_ID='100000004'),
        "Class_ID: unknown class: got '100000004', expected one of 3 from 100000001 to",
    ),
    'class by name': (hrsc_object(Class_ID='ship'), "Class_ID: unknown class: got 'sh"),
    'empty element': (hrsc_object(mbox_h=''), "mbox_h: no finite number: got ''"),
    'text in a number': (hrsc_object(mbox_w='8x'), "mbox_w: no finite number: got '8x"),
    'not a number': (hrsc_object(mbox_cy='NaN'), "mbox_cy: no finite number: got 'NaN"),
    'infinite': (hrsc_object(mbox_ang='inf'), "mbox_ang: no finite number: got 'inf'"),
    'overflow': (hrsc_object(mbox_w='1e400'), "mbox_w: no finite number: got '1e400'"),
    'digit separators': (hrsc_object(mbox_w='1_0'), 'mbox_w: no finite number'),
    'zero width': (hrsc_object(mbox_w=0), 'mbox_w: empty box: got 0, expected more'),
    'negative height': (hrsc_object(mbox_h=-4), 'mbox_h: empty box: got -4'),
    'degrees': (hrsc_object(mbox_ang=30), 'mbox_ang: no angle in radians: got 30'),
    'unknown flag': (hrsc_object(truncated=2), "truncated: no flag: got '2', expected"),
}
BAD_BOXES = {
    'outside': ((90, 20, 20, 8, 0.5), 'box outside the image: got '),
    # Its upright bounds overlap the image, itself does not.
    'past a corner': ((-5, -5, 40, 4, -math.pi / 4), 'box outside the image'),
    'hair': ((30, 20, 1e-3, 1e-3, 0), 'zero area'),
    'absurd': ((30, 20, 1e300, 1e300, 0.5), 'no coordinates of pixels'),
}
BAD_FILES = {
    'empty': ('', r'a\.xml:1: no well-formed XML: got no element found at column 1'),
    'cut off': (
        hrsc_xml([GOOD])[:-4],
        r'a\.xml:7: no well-formed XML: got unclosed .* expected an HRSC_Image element',
    ),
    'mismatched tag': (
        hrsc_xml(['<HRSC_Object>']),
        r'a\.xml:6: no well-formed XML: got mismatched tag',
    ),
    'undefined entity': (hrsc_xml(['&x;']), r'a\.xml:5: .* got undefined entity'),
    'other root': (
        '<annotation/>',
        r"a\.xml:1: wrong root: got 'annotation'",
    ),
    'no objects': (
        hrsc_xml([]).replace('HRSC_Objects', 'Objects'),
        r'a\.xml:1: HRSC_Objects: missing element: got none in HRSC_Image',
    ),
    'no size': (
        hrsc_xml([]).replace('Img_SizeWidth', 'Width'),
        r'a\.xml:1: Img_SizeWidth: missing element',
    ),
    'other size': (
        hrsc_xml([], (64, 64)),
        r'a\.xml:3: Img_SizeHeight: size of another image: got 64, expected the 48',
    ),
    'text as size': (
        hrsc_xml([], ('x', 48)),
        r"a\.xml:2: Img_SizeWidth: no finite number: got 'x'",
    ),
    'entity bomb': (
        '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + hrsc_xml(['&b;']),
        r"a\.xml:1: DOCTYPE: got one of 'x', expected none",
    ),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'a.xml'


@pytest.mark.parametrize(('element', 'message'), BAD_OBJECTS.values(), ids=BAD_OBJECTS)
def test_bad_element_is_named(file: Path, element: str, message: str) -> None:
    file.write_text(hrsc_xml([GOOD, element, OTHER]))
    with pytest.raises(AnnotationError) as error:
        read_objects(file, SIZE, IDS)
    place = f'{file}:6: HRSC_Objects/HRSC_Object[2]/'
    assert str(error.value).startswith(f'{place}{message}')
    assert 'expected' in str(error.value)
    problems: list[AnnotationError] = []
    assert len(read_objects(file, SIZE, IDS, problems)) == 2
    assert [str(problem) for problem in problems] == [str(error.value)]


@pytest.mark.parametrize(('box', 'message'), BAD_BOXES.values(), ids=BAD_BOXES)
def test_bad_box_is_named(file: Path, box: tuple, message: str) -> None:
    file.write_text(hrsc_xml([hrsc_object(box)]))
    with pytest.raises(AnnotationError) as error:
        read_objects(file, SIZE, IDS)
    place = f'{file}:5: HRSC_Objects/HRSC_Object: '
    assert str(error.value).startswith(f'{place}{message}')


@pytest.mark.parametrize(('text', 'message'), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_is_an_error_always(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    for problems in (None, []):
        with pytest.raises(AnnotationError, match=message):
            read_objects(file, SIZE, IDS, problems)


def test_binary_file_is_named(file: Path) -> None:
    # A DOCTYPE in another encoding is none that a search in bytes would find.
    file.write_bytes(hrsc_xml([]).encode('utf-16'))
    with pytest.raises(AnnotationError, match=r'a\.xml: no readable text file'):
        read_objects(file, SIZE, IDS)


def test_reads_all_fields(file: Path) -> None:
    box = (30.5, 20.25, 20, 8.125, -1.5)
    objects = [hrsc_object(box, Class_ID=100000002, truncated=1), GOOD]
    declaration = '<?xml version="1.0" encoding="utf-8"?>\r\n'
    file.write_bytes(b'\xef\xbb\xbf' + (declaration + hrsc_xml(objects)).encode())
    assert read_objects(file, SIZE, IDS) == [
        HrscObject('100000002', *box, truncated=1, difficult=0),
        HrscObject('100000001', 30, 20, 20, 8, 0.5, truncated=0, difficult=0),
    ]
    file.write_text(hrsc_xml([]))
    assert read_objects(file, SIZE, IDS) == []


def test_box_over_the_border_stays_as_it_is(file: Path) -> None:
    file.write_text(hrsc_xml([hrsc_object((-4, 20, 20, 8, 0))]))
    (ship,) = read_objects(file, SIZE, IDS)
    assert ship.corners == (6, 24, 6, 16, -14, 16, -14, 24)


def test_corners_are_those_of_mmrotate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform([0, 0, 5, 5, -np.pi], [64, 48, 40, 40, np.pi], (50, 5))
    ours = [HrscObject('', *box, 0, 0).corners for box in boxes.tolist()]
    theirs = rbox2qbox(torch.from_numpy(boxes))
    torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), theirs)


def test_angle_is_clockwise_as_seen() -> None:
    # A ship along 30 degrees below the x axis; y points down.
    corners = HrscObject('', 0, 0, 20, 2, math.pi / 6, 0, 0).corners
    bow = np.reshape(corners, (4, 2))[:2].mean(axis=0)
    np.testing.assert_allclose(bow, [10 * math.cos(math.pi / 6), 5])
