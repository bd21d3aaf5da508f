import pytest

from aerialkd.datasets.visdrone_format import parse_line, read_annotations
from aerialkd.errors import AnnotationError

SIZE = (64, 48)
BAD_LINES = {
    'too few fields': ('1,2,3,4,1,4,0', 'wrong number of fields: got 7, expected 8'),
    'too many fields': ('1,2,3,4,1,4,0,0,7', 'wrong number of fields: got 9'),
    'two trailing commas': ('1,2,3,4,1,4,0,0,,', 'wrong number of fields: got 9'),
    'other separator': ('1 2 3 4 1 4 0 0', 'wrong number of fields: got 1'),
    'empty field': ('1,,3,4,1,4,0,0', "y: no finite number: got ''"),
    'text in a number': ('1,2,3x,4,1,4,0,0', "width: no finite number: got '3x'"),
    'class by name': ('1,2,3,4,1,car,0,0', "class: no finite number: got 'car'"),
    'digit separators': ('1_0,2,3,4,1,4,0,0', "x: no finite number: got '1_0'"),
    'digits of another script': ('١,2,3,4,1,4,0,0', 'x: no finite number'),
    'not a number': ('nan,2,3,4,1,4,0,0', "x: no finite number: got 'nan'"),
    'infinite': ('1,2,inf,4,1,4,0,0', "width: no finite number: got 'inf'"),
    'overflow': ('1,2,3,1e400,1,4,0,0', "height: no finite number: got '1e400'"),
    'zero width': ('1,2,0,4,1,4,0,0', 'empty box: got width 0, height 4'),
    'negative height': ('1,2,3,-4,1,4,0,0', 'empty box: got width 3, height -4'),
    'right of the image': (
        '64,2,3,4,1,4,0,0',
        'box outside the image: got 64,2 to 67,6',
    ),
    'above the image': ('1,-4,3,4,1,4,0,0', 'box outside the image'),
    'unknown class': ('1,2,3,4,1,12,0,0', 'unknown class: got 12, expected 0 to 11'),
    'negative class': ('1,2,3,4,1,-1,0,0', 'unknown class: got -1'),
    'fractional class': ('1,2,3,4,1,4.5,0,0', 'class: no whole number: got 4.5'),
    'confidence as score': ('1,2,3,4,.9,4,-1,-1', 'score: no whole number: got 0.9'),
    'unknown score': ('1,2,3,4,2,4,0,0', 'unknown score: got 2, expected 0'),
}


@pytest.mark.parametrize(('line', 'message'), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_line_is_named(line: str, message: str) -> None:
    with pytest.raises(AnnotationError) as error:
        parse_line(line, 'a.txt:3', SIZE)
    assert str(error.value).startswith(f'a.txt:3: {message}')
    assert 'expected' in str(error.value)
    assert 'correct' in str(error.value)


@pytest.mark.parametrize(
    'line',
    [
        '1,2,3,4,1,4,0,2',
        '1,2,3,4,1,4,0,2,',
        ' 1, 2,3 ,4,1,4,0,2\r\n',
        '1.0,2e0,3.,4,1,4,0,2',
    ],
)
def test_legal_spellings_mean_the_same(line: str) -> None:
    box = parse_line(line, 'a.txt:1', SIZE)
    assert box.bbox == (1, 2, 4, 6)
    assert (box.category, box.score, box.truncation, box.occlusion) == (4, 1, 0, 2)


@pytest.mark.parametrize(
    ('line', 'bbox'),
    [
        ('-5,-6,10,10,1,4,0,0', (0, 0, 5, 4)),
        ('60,40,10,10,1,4,0,0', (60, 40, 64, 48)),
        ('-1,-1,100,100,0,0,0,0', (0, 0, 64, 48)),
    ],
)
def test_boxes_are_cut_at_the_border(line: str, bbox: tuple) -> None:
    assert parse_line(line, 'a.txt:1', SIZE).bbox == bbox


@pytest.mark.parametrize(
    ('score', 'category', 'is_object', 'is_region'),
    [
        (1, 1, True, False),
        (0, 4, False, False),
        (1, 11, False, False),
        (0, 0, False, True),
    ],
)
def test_roles(score: int, category: int, is_object: bool, is_region: bool) -> None:
    box = parse_line(f'1,2,3,4,{score},{category},0,0', 'a.txt:1', SIZE)
    assert (box.is_object, box.is_ignored_region) == (is_object, is_region)


def test_file_lines_are_counted_as_editors_do(tmp_path) -> None:
    file = tmp_path / 'a.txt'
    # Byte order mark, Windows line ends, an empty line, a form feed within a line.
    file.write_bytes(b'\xef\xbb\xbf1,2,3,4,1,4,0,0\r\n\r\n1,2,3,4,1,5,0,0\x0c\r\nx\r\n')
    problems: list[AnnotationError] = []
    boxes = read_annotations(file, SIZE, problems)
    assert [box.category for box in boxes] == [4, 5]
    assert [str(p).split(': ')[0] for p in problems] == [f'{file}:4']
    with pytest.raises(AnnotationError, match=r'a\.txt:4: wrong number of fields'):
        read_annotations(file, SIZE)


def test_binary_file_is_named(tmp_path) -> None:
    file = tmp_path / 'a.txt'
    file.write_bytes(b'\xff\xfe1\x00')
    with pytest.raises(AnnotationError, match=r'a\.txt: no readable text file'):
        read_annotations(file, SIZE)
