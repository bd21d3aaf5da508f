"""Files and folders of other formats: said what they look like, and never empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aerialkd.datasets import dota_format, visdrone_format
from aerialkd.datasets.checking import check_dataset
from aerialkd.datasets.dota_tiles import split_dota
from aerialkd.datasets.foreign_formats import line_format
from aerialkd.errors import AnnotationError, ConfigError, NothingUsable
from tests.datasets.test_defects import CAR, PLANE, READERS, SHIP, build
from tests.miniatures import (
    hrsc_object,
    hrsc_xml,
    write_dota,
    write_hrsc2016,
    write_visdrone,
)

SIZE = (64, 48)
YOLO = '0 0.5 0.5 0.25 0.125'
LINES = {
    'YOLO': [
        YOLO,
        '14 0 1 0.000001 1.0',
        '3\t0.5\t0.5\t.2\t1e-2',
        'ship 0.5 0.5 0.2 0.1',
        '0,0.5,0.5,0.2,0.1',
        f'{YOLO} 0.93',
        '0 1.0004 0.5 0.2 0.1',
    ],
    'YOLO-OBB': ['2 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2', '2 0 0 1 0 1 1 0 1 0.9'],
    'YOLO segmentation': ['1 0.1 0.1 0.3 0.1 0.3 0.2', f'1{" 0.5 0.25" * 9}'],
    'VisDrone': [CAR, f'{CAR},', '684,8,273,116,0,0,0,0'],
    'MOT': ['1,1,10,20,5,6,1,4,0,0'],
    'DOTA': [SHIP, SHIP[:-2]],
    'COCO': ['{"images": [', '[{"image_id": 1,'],
    'XML': ['<annotation>', '<?xml version="1.0"?>', ' <HRSC_Image>'],
    '': ['', '1', 'x', '0 100 120 30 40', '0.5 0.5 0.5 0.2 0.1', '1 2 3', '1,2,3'],
}
WITH_NAMES = [(name, line) for name, lines in LINES.items() for line in lines]
PARSE: dict[str, Callable[[str], object]] = {
    'DOTA': lambda line: dota_format.parse_line(
        line, 'a.txt:1', SIZE, dota_format.CLASSES['1.0']
    ),
    'VisDrone': lambda line: visdrone_format.parse_line(line, 'a.txt:1', SIZE),
}


@pytest.mark.parametrize(('name', 'line'), WITH_NAMES)
def test_lines(name: str, line: str) -> None:
    assert line_format(line) == name


@pytest.mark.parametrize('own', PARSE)
@pytest.mark.parametrize(('name', 'line'), WITH_NAMES)
def test_hint(own: str, name: str, line: str) -> None:
    if name == own or len(line.split()) == 10:
        return  # it has as many fields as it should
    with pytest.raises(AnnotationError, match=r'a\.txt:1: wrong number of f') as error:
        PARSE[own](line)
    assert ('looks like' in str(error.value)) == bool(name)
    assert f'; looks like {name}: ' in str(error.value) or not name
    assert 'correct or delete the line.' in str(error.value)


def test_hint_of_yolo_says_how_its_lines_are() -> None:
    with pytest.raises(AnnotationError, match='looks like YOLO: class cx cy w h, in '):
        PARSE['DOTA'](YOLO)


@pytest.mark.parametrize(
    ('own', 'line'),
    [
        ('DOTA', '0.1 0.2 0.3 0.2 0.3 0.4 0.1 0.4 ship 0'),
        ('VisDrone', '0.1,0.2,0.5,0.25,1,4,0,0'),
    ],
)
def test_parts_of_the_image_are_no_pixels(own: str, line: str) -> None:
    with pytest.raises(AnnotationError, match='which look like parts of the image'):
        PARSE[own](line)
    # A pixel is one, and so is a part of it that reaches out.
    PARSE['DOTA']('0 0 1 0 1 1 0 1 ship 0')
    PARSE['DOTA']('0.5 0 1.5 0 1.5 1 0.5 1 ship 0')
    PARSE['VisDrone']('0,0,1,1,1,4,0,0')


@pytest.mark.parametrize('layout', ['dota', 'visdrone'])
@pytest.mark.parametrize('number', [1, 2, 5])
def test_file_without_a_good_line(tmp_path: Path, layout: str, number: int) -> None:
    write = READERS[layout][1]
    good = {'dota': SHIP, 'visdrone': CAR}[layout]
    root = write(tmp_path, {'a.png': [good], 'b.png': [YOLO] * number, 'c.png': []})
    file = (root / READERS[layout][2]).with_name('b.txt')
    with pytest.raises(NothingUsable) as error:
        build(root, layout, bad_annotations='skip')
    message = str(error.value)
    assert message.startswith(
        f'{file}: wrong number of fields everywhere: got {number}'
    )
    assert f'{file}:1: wrong number of fields: got ' in message
    assert 'looks like YOLO: class cx cy w h' in message
    assert (f'{file}:2: wrong' in message) == (number > 1)
    report = check_dataset(layout, root, progress=False)
    (defect,) = report.defects
    assert str(defect) in message
    # With one good line, with none at all and with blank ones it is as ever.
    file.write_text(f'{YOLO}\n{good}\n')
    assert build(root, layout, bad_annotations='skip').num_bad_annotations == 1
    for text in ('', '\n \n'):
        file.write_text(text)
        dataset = build(root, layout, bad_annotations='skip')
        assert (dataset.num_bad_annotations, dataset.get_cat_ids(1)) == (0, [])


def test_different_kinds_of_bad_lines(tmp_path: Path) -> None:
    root = write_dota(tmp_path, {'a.png': [YOLO, PLANE.replace('plane', 'car'), 'x']})
    with pytest.raises(NothingUsable, match=r'a\.txt: nothing usable: got 3 of 3') as e:
        build(root, 'dota', bad_annotations='skip')
    assert 'a.txt:2: unknown class; ' in str(e.value)


def test_xml_without_a_good_object(tmp_path: Path) -> None:
    bad = hrsc_object(Class_ID=7)
    root = write_hrsc2016(tmp_path, {'a.bmp': [hrsc_object()], 'b.bmp': [bad, bad]})
    with pytest.raises(NothingUsable, match=r'b\.xml: unknown class everywhere: got 2'):
        build(root, 'hrsc2016', bad_annotations='skip')
    (defect,) = check_dataset('hrsc2016', root, progress=False).defects
    assert defect.kind == 'unknown class everywhere'


def test_no_tiles_of_a_scene_without_a_good_line(tmp_path: Path) -> None:
    images = {'P1.png': [SHIP], 'P2.png': [YOLO, YOLO]}
    root, out = write_dota(tmp_path / 'in', images), tmp_path / 'out'
    options = dict(progress=False, sizes=(32,), gaps=(8,), bad_annotations='skip')
    with pytest.raises(NothingUsable, match=r'P2\.txt: wrong .*looks like YOLO: cl'):
        split_dota(root, out, **options)
    assert not out.exists()
    (root / 'labelTxt/P2.txt').write_text('gsd:0.5\n')
    assert split_dota(root, out, **options).objects == {'ship': 1}


def test_one_file_for_all_images(tmp_path: Path) -> None:
    """COCO's JSON, where a text file an image is expected."""
    root = write_dota(tmp_path, {'a.png': [SHIP]})
    (root / 'labelTxt/a.txt').rename(root / 'labelTxt/train.json')
    hint = r'holds 1 \.json files; looks like COCO: JSON, one file for all images'
    with pytest.raises(AnnotationError, match=f'1 images have none .*{hint}'):
        build(root, 'dota')
    with pytest.raises(ConfigError, match=f'labelTxt: got no annotation files.*{hint}'):
        split_dota(root, tmp_path / 'out', progress=False)
    (defect,) = check_dataset('dota', root, progress=False).defects
    assert defect.kind == 'no annotation files'
    assert 'looks like COCO' in str(defect)
    with pytest.raises(ConfigError, match=r'ann_file: got .*looks like COCO'):
        build(root, 'dota', ann_file='labelTxt/train.json')


def test_xml_and_images_in_the_place_of_text(tmp_path: Path) -> None:
    root = write_visdrone(tmp_path, {'a.jpg': [CAR]})
    file = root / 'annotations/a.txt'
    file.with_suffix('.xml').write_text('<annotation/>')
    file.unlink()
    with pytest.raises(AnnotationError, match=r'holds 1 \.xml files; looks like XML'):
        build(root, 'visdrone')
    with pytest.raises(AnnotationError, match='holds 1 images, so that another folder'):
        build(
            root, 'visdrone', data_prefix={'img_path': 'images', 'ann_path': 'images'}
        )
    (root / 'images/train').mkdir()
    (root / 'images/a.jpg').unlink()
    with pytest.raises(
        AnnotationError, match=r'got 0 images.*it holds the folders trai'
    ):
        build(root, 'visdrone')


def test_voc_in_the_place_of_ships(tmp_path: Path) -> None:
    root = write_hrsc2016(tmp_path, {'a.bmp': []})
    text = hrsc_xml([]).replace('HRSC_Image', 'annotation')
    (root / 'FullDataSet/Annotations/a.xml').write_text(text)
    with pytest.raises(AnnotationError, match=r'wrong root: got .*looks like VOC'):
        build(root, 'hrsc2016')


@pytest.mark.parametrize(
    ('folders', 'layout', 'name'),
    [
        (('images', 'labels'), 'dota', 'YOLO'),
        (('images', 'labels'), 'visdrone', 'YOLO'),
        (('images', 'annotations'), 'dota', 'VisDrone'),
        (('images', 'labelTxt'), 'visdrone', 'DOTA'),
        (('JPEGImages', 'Annotations'), 'visdrone', 'XML'),
        (('FullDataSet/AllImages', 'ImageSets'), 'dota', 'XML'),
    ],
)
def test_folders_of_another_layout(
    tmp_path: Path, folders: tuple[str, ...], layout: str, name: str
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    for call in (
        lambda: check_dataset(layout, tmp_path, progress=False),
        lambda: build(tmp_path, layout),
    ):
        with pytest.raises(ConfigError, match=f'looks like {name}: '):
            call()
    if layout == 'dota':
        with pytest.raises(ConfigError, match=f'no such folder.*looks like {name}: '):
            split_dota(tmp_path, tmp_path / 'out', progress=False)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    root = write_dota(tmp_path, {'a.png': [SHIP]})
    (root / 'train.json').write_text('{}')
    with pytest.raises(ConfigError, match=r'train\.json: a file, no .*looks like COCO'):
        build(
            root, 'dota', data_prefix={'img_path': 'images', 'ann_path': 'train.json'}
        )
