"""Every kind of defect in an annotation file, in every layout: accepted, or named.

Each file is read by the training's reader, which stops or skips, and by the check.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aerialkd.datasets import DOTADataset, HRSC2016Dataset, VisDroneDataset
from aerialkd.datasets.checking import check_dataset
from aerialkd.datasets.native import NativeDataset
from aerialkd.errors import AnnotationError
from tests.miniatures import (
    hrsc_object,
    hrsc_xml,
    write_dota,
    write_hrsc2016,
    write_visdrone,
)

CAR, BUS = '1,2,10,12,1,4,0,0', '30,20,8,6,1,9,0,1'
SHIP, PLANE = '1 2 11 2 11 8 1 8 ship 0', '30 10 50 20 45 30 25 20 plane 1'
FRIGATE, TUG = hrsc_object(), hrsc_object((30, 20, 20, 9, 0.5), Class_ID=100000002)
MARK = b'\xef\xbb\xbf'

READERS = {
    'visdrone': (VisDroneDataset, write_visdrone, 'annotations/a.txt'),
    'dota': (DOTADataset, write_dota, 'labelTxt/a.txt'),
    'hrsc2016': (HRSC2016Dataset, write_hrsc2016, 'FullDataSet/Annotations/a.xml'),
}
# What the file holds, and how many objects that are.
ACCEPTED = {
    'visdrone': {
        'BOM': (MARK + CAR.encode(), 1),
        'CRLF': (f'{CAR}\r\n\r\n{BUS}\r\n'.encode(), 2),
        'trailing comma': (f'{CAR},\n{BUS},\n'.encode(), 2),
        'empty file': (b'', 0),
        'blank lines': (b'\n \n\r\n', 0),
        'same box, other class': (f'{CAR}\n{CAR.replace(",4,", ",9,")}\n'.encode(), 2),
    },
    'dota': {
        'BOM': (MARK + SHIP.encode(), 1),
        'BOM and header': (MARK + f'gsd:0.1\n{SHIP}'.encode(), 1),
        'CRLF': (f'{SHIP}\r\n\r\n{PLANE}\r\n'.encode(), 2),
        'empty file': (b'', 0),
        'blank lines': (b'\n \n\r\n', 0),
        'same box, other class': (
            f'{SHIP}\n{SHIP.replace("ship", "plane")}'.encode(),
            2,
        ),
    },
    'hrsc2016': {
        'BOM': (MARK + hrsc_xml([FRIGATE]).encode(), 1),
        'CRLF': (hrsc_xml([FRIGATE, TUG]).replace('\n', '\r\n').encode(), 2),
        'no object': (hrsc_xml([]).encode(), 0),
        'same box, other class': (
            hrsc_xml([FRIGATE, FRIGATE.replace('000001', '000002')]).encode(),
            2,
        ),
        'DOCTYPE in a comment': (
            hrsc_xml(['<!-- <!DOCTYPE a> -->', FRIGATE]).encode(),
            1,
        ),
    },
}
# The bad line between two good ones, and what the message says behind 'a.txt:2: '.
BAD_LINES = {
    'visdrone': {
        'two trailing commas': (f'{CAR},,', 'wrong number of fields'),
        'missing field': ('1,2,3,4,1,4,0', 'wrong number of fields'),
        'NaN': ('nan,2,3,4,1,4,0,0', 'x: no finite number'),
        '1e400': ('1,2,3,1e400,1,4,0,0', 'height: no finite number'),
        'text in a number': ('1,2x,3,4,1,4,0,0', 'y: no finite number'),
        'negative size': ('1,2,-3,4,1,4,0,0', 'empty box'),
        'outside': ('64,2,3,4,1,4,0,0', 'box outside the image'),
        'unknown class': ('1,2,3,4,1,12,0,0', 'unknown class'),
        'duplicate': ('1.0,2,10,12,1,4,1,2,', 'duplicate'),
    },
    'dota': {
        'trailing comma': (f'{SHIP},', 'unknown difficult'),
        'missing field': ('1 2 11 2 11 8 1 8 ship', 'wrong number of fields'),
        'NaN': ('1 nan 11 2 11 8 1 8 ship 0', 'y1: no finite number'),
        '1e400': ('1 2 11 1e400 11 8 1 8 ship 0', 'y2: no finite number'),
        'text in a number': ('1 2 1x 2 11 8 1 8 ship 0', 'x2: no finite number'),
        'point': ('5 5 5 5 5 5 5 5 ship 0', 'zero area'),
        'line': ('1 7 1 7 1 21 1 21 ship 0', 'zero area'),
        'outside': ('64 2 70 2 70 8 64 8 ship 0', 'box outside the image'),
        'unknown class': ('1 2 11 2 11 8 1 8 car 0', 'unknown class'),
        'header below': ('gsd:0.1', 'wrong number of fields'),
        'duplicate': (f'{SHIP[:-1]}1', 'duplicate'),
        'duplicate from another corner': (
            '11 8 1 8 1 2 11 2 ship 0',
            'duplicate',
        ),
    },
}
OBJECT = 'HRSC_Objects/HRSC_Object[2]'
BAD_OBJECTS = {
    'stray text': ('<HRSC_Object>7</HRSC_Object>', f'{OBJECT}: stray text'),
    'missing element': (
        hrsc_object(mbox_cx=None),
        f'{OBJECT}/mbox_cx: missing element',
    ),
    'repeated element': (
        hrsc_object(mbox_h='8</mbox_h><mbox_h>9'),
        f'{OBJECT}/mbox_h[2]: repeated element',
    ),
    'stray element': (
        hrsc_object(mbox_h='8<b>9</b>'),
        f'{OBJECT}/mbox_h: stray element',
    ),
    'NaN': (hrsc_object(mbox_cy='NaN'), f'{OBJECT}/mbox_cy: no finite number'),
    '1e400': (hrsc_object(mbox_w='1e400'), f'{OBJECT}/mbox_w: no finite number'),
    'text in a number': (
        hrsc_object(mbox_h='8x'),
        f'{OBJECT}/mbox_h: no finite number',
    ),
    'negative size': (hrsc_object(mbox_h=-4), f'{OBJECT}/mbox_h: empty box'),
    'outside': (
        hrsc_object((90, 20, 20, 8, 0.5)),
        f'{OBJECT}: box outside the image',
    ),
    'unknown class': (
        hrsc_object(Class_ID='100000034'),
        f'{OBJECT}/Class_ID: unknown class',
    ),
    'duplicate': (hrsc_object(difficult=1), 'duplicate'),
}
# Files of which nothing is read.
BOMB = ''.join(
    f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha"}">' for i in range(12)
)
BAD_FILES = {
    'visdrone': {'UTF-16': (CAR.encode('utf-16'), 'a.txt: no readable text file')},
    'dota': {'binary': (b'\xff\xfe\x00', 'a.txt: no readable text file')},
    'hrsc2016': {
        'empty file': (b'', 'a.xml:1: no well-formed XML'),
        'not well-formed': (
            hrsc_xml([FRIGATE])[:-4].encode(),
            'a.xml:7: no well-formed XML',
        ),
        'UTF-16': (hrsc_xml([]).encode('utf-16'), 'a.xml: no readable text file'),
        'wrong root': (b'<!-- -->\n<annotation/>', 'a.xml:2: wrong root'),
        'stray text': (
            hrsc_xml(['between', FRIGATE]).encode(),
            'a.xml:4: HRSC_Objects: stray text',
        ),
        'second list of objects': (
            hrsc_xml(['</HRSC_Objects>', '<HRSC_Objects>']).encode(),
            'a.xml:6: HRSC_Objects[2]: repeated element',
        ),
        'other image': (
            hrsc_xml([], (64, 64)).encode(),
            'a.xml:3: Img_SizeHeight: size of another image',
        ),
        'entity bomb': (
            f'<?xml version="1.0"?>\n<!DOCTYPE x [{BOMB}]>\n'.encode()
            + hrsc_xml(['&e11;']).encode(),
            'a.xml:2: DOCTYPE',
        ),
        'external entity': (
            b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
            + hrsc_xml(['&e;']).encode(),
            'a.xml:1: DOCTYPE',
        ),
        'external DTD': (
            b'<!DOCTYPE x SYSTEM "http://localhost/x.dtd">' + hrsc_xml([]).encode(),
            'a.xml:1: DOCTYPE',
        ),
        'entity without DOCTYPE': (
            hrsc_xml(['&e;']).encode(),
            'a.xml:5: no well-formed XML',
        ),
    },
}


def write(root: Path, layout: str, content: bytes) -> Path:
    """A data set of one image with that annotation file."""
    _, miniature, file = READERS[layout]
    miniature(root, {'a.png': []})
    (root / file).write_bytes(content)
    return root


def build(root: Path, layout: str, **options: Any) -> NativeDataset:
    # Serialised data cost a collection of garbage, which takes half a second here.
    return READERS[layout][0](data_root=root, serialize_data=False, **options)


def cases(table: dict) -> list:
    return [
        pytest.param(layout, *case, id=f'{layout}-{name}')
        for layout, rows in table.items()
        for name, case in rows.items()
    ]


def bad_annotations() -> list:
    """Layout, content, and the place and kind of its one bad object."""
    rows = [
        pytest.param(
            layout,
            '\n'.join([good, line, other]).encode(),
            f'a.txt:2: {what}',
            id=f'{layout}-{name}',
        )
        for layout, good, other in (
            ('visdrone', CAR, BUS),
            ('dota', SHIP, PLANE),
        )
        for name, (line, what) in BAD_LINES[layout].items()
    ]
    return rows + [
        pytest.param(
            'hrsc2016',
            hrsc_xml([FRIGATE, item, TUG]).encode(),
            f'a.xml:6: {what}',
            id=f'hrsc2016-{name}',
        )
        for name, (item, what) in BAD_OBJECTS.items()
    ]


def says(message: str, root: Path, layout: str, what: str) -> bool:
    """Whether it begins with file, line, element and kind, and says what it got."""
    folder = (root / READERS[layout][2]).parent
    return message.startswith(f'{folder}/{what}: got ') and 'expected' in message


@pytest.mark.parametrize(('layout', 'content', 'objects'), cases(ACCEPTED))
def test_accepted(tmp_path: Path, layout: str, content: bytes, objects: int) -> None:
    root = write(tmp_path, layout, content)
    assert len(build(root, layout).get_data_info(0)['instances']) == objects
    report = check_dataset(layout, root, progress=False)
    assert (report.defects, report.statistics.objects.total()) == ([], objects)


@pytest.mark.parametrize(('layout', 'content', 'what'), bad_annotations())
def test_bad_annotation(tmp_path: Path, layout: str, content: bytes, what: str) -> None:
    root = write(tmp_path, layout, content)
    with pytest.raises(AnnotationError) as error:
        build(root, layout)
    assert says(str(error.value), root, layout, what)
    assert error.value.kind == what.split(': ')[-1]
    dataset = build(root, layout, bad_annotations='skip')
    assert dataset.num_bad_annotations == 1
    assert len(dataset.get_data_info(0)['instances']) == 2
    report = check_dataset(layout, root, progress=False)
    assert [str(defect) for defect in report.defects] == [str(error.value)]
    assert report.kinds == {error.value.kind: 1}
    assert report.statistics.objects.total() == 2


@pytest.mark.parametrize(('layout', 'content', 'what'), cases(BAD_FILES))
def test_file_of_which_nothing_is_read(
    tmp_path: Path, layout: str, content: bytes, what: str
) -> None:
    root = write(tmp_path, layout, content)
    with pytest.raises(AnnotationError) as error:
        build(root, layout)
    assert says(str(error.value), root, layout, what)
    assert error.value.kind == what.split(': ')[-1]
    with pytest.raises(AnnotationError, match='no usable image: got none of 1') as none:
        build(root, layout, bad_annotations='skip')
    assert str(error.value) in str(none.value)
    report = check_dataset(layout, root, progress=False)
    assert [str(defect) for defect in report.defects] == [str(error.value)]


def test_duplicate_names_the_first_and_keeps_it(tmp_path: Path) -> None:
    lines = [SHIP, PLANE, f'{SHIP[:-1]}1', SHIP]
    root = write(tmp_path, 'dota', '\n'.join(lines).encode())
    (first, second) = check_dataset('dota', root, progress=False).defects
    assert 'a.txt:3: duplicate: got the object of line 1 again' in str(first)
    assert 'a.txt:4: duplicate: got the object of line 1 again' in str(second)
    dataset = build(root, 'dota', bad_annotations='skip', ignore_difficult=True)
    flags = [i['ignore_flag'] for i in dataset.get_data_info(0)['instances']]
    assert flags == [0, 1]


def test_all_defects_of_a_file_are_found(tmp_path: Path) -> None:
    bad = [line for line, _ in BAD_LINES['visdrone'].values()]
    root = write(tmp_path, 'visdrone', '\n'.join([CAR, *bad]).encode())
    report = check_dataset('visdrone', root, progress=False)
    places = [str(defect).split(': ')[0] for defect in report.defects]
    file = root / 'annotations' / 'a.txt'
    assert places == [f'{file}:{line}' for line in range(2, 2 + len(bad))]
    assert report.kinds == {
        'wrong number of fields': 2,
        'no finite number': 3,
        'empty box': 1,
        'box outside the image': 1,
        'unknown class': 1,
        'duplicate': 1,
    }
