from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aerialkd.datasets.checking import LAYOUTS, check_dataset
from aerialkd.datasets.checking.layouts import FoundObject
from aerialkd.datasets.checking.statistics import ObjectStatistics
from aerialkd.datasets.made import make_data
from aerialkd.errors import ConfigError
from tests.datasets.test_defects import BUS, CAR, PLANE, SHIP
from tests.miniatures import (
    hrsc_object,
    hrsc_xml,
    write_dota,
    write_hrsc2016,
    write_visdrone,
)

REGION, OTHER, PALE = '40,30,20,16,0,0,0,0', '5,5,9,9,1,11,0,0', '5,5,9,9,0,4,0,0'


def defects(layout: str, *folders: Path, **options) -> list[tuple[str, str]]:
    """The end of the path, and the kind, of every defect."""
    report = check_dataset(layout, *folders, progress=False, **options)
    paths = (Path(str(defect).split(': ')[0]) for defect in report.defects)
    kinds = (defect.kind for defect in report.defects)
    return [(path.name, kind) for path, kind in zip(paths, kinds, strict=True)]


@pytest.mark.parametrize('layout', LAYOUTS)
def test_made_data_are_sound(tmp_path: Path, layout: str) -> None:
    root = make_data(layout, tmp_path, images=8, size=96, progress=False)
    report = check_dataset(layout, root, progress=False)
    assert (report.defects, report.verdict) == ([], 'nothing wrong')
    assert sum(folder.images for folder in report.folders) == 8
    assert report.statistics.objects.total() > 8


def test_folder_itself_or_its_parent(tmp_path: Path) -> None:
    train = write_visdrone(tmp_path / 'set/b-train', {'a.jpg': [CAR], 'b.jpg': []})
    val = write_visdrone(tmp_path / 'set/a-val', {'a.jpg': [BUS]})
    (tmp_path / 'set/notes').mkdir()
    report = check_dataset('visdrone', tmp_path / 'set', progress=False)
    assert [folder.line for folder in report.folders] == [
        f'{val}: 1 images, 1 annotation files',
        f'{train}: 2 images, 2 annotation files',
    ]
    assert report.statistics.objects == {'car': 1, 'bus': 1}
    again = check_dataset('visdrone', train, tmp_path / 'set', train, progress=False)
    assert [folder.path for folder in again.folders] == [train, val]


def test_sub_folder_with_images_only_is_a_test_set(tmp_path: Path) -> None:
    write_dota(tmp_path / 'train', {'a.png': [SHIP]})
    (write_dota(tmp_path / 'test', {'b.png': []}) / 'labelTxt/b.txt').unlink()
    (tmp_path / 'test/labelTxt').rmdir()
    (tmp_path / 'test/images/b.png').write_bytes(b'no image')
    assert defects('dota', tmp_path) == [('b.png', 'not a readable image')]
    lines = check_dataset('dota', tmp_path, progress=False).lines()
    assert f'{tmp_path}/test: 1 images, no folder of annotations' in lines
    with pytest.raises(ConfigError, match='test: no data set of this layout'):
        check_dataset('dota', tmp_path / 'test', progress=False)


def test_files_that_do_not_pair(tmp_path: Path) -> None:
    root = write_visdrone(tmp_path, {f'{stem}.jpg': [CAR] for stem in 'abc'})
    (root / 'annotations/b.txt').unlink()
    (root / 'images/c.jpg').rename(root / 'images/a.png')
    assert defects('visdrone', root) == [
        ('a.png', 'second file of that name'),
        ('b.jpg', 'image without annotation file'),
        ('c.txt', 'annotation file without image'),
    ]


def test_no_images(tmp_path: Path) -> None:
    assert defects('dota', write_dota(tmp_path, {})) == [('images', 'no images')]


def test_unreadable_image_hides_no_other_defect(tmp_path: Path) -> None:
    root = write_visdrone(tmp_path, {'a.jpg': ['x', CAR], 'b.jpg': [BUS, 'x']})
    image = root / 'images/a.jpg'
    image.write_bytes(image.read_bytes()[:-9])
    assert defects('visdrone', root) == [
        ('a.jpg', 'truncated image'),
        ('a.txt:1', 'wrong number of fields'),
        ('b.txt:2', 'wrong number of fields'),
    ]


def test_damage_that_only_decoding_finds(tmp_path: Path) -> None:
    root = write_dota(tmp_path, {'a.png': [SHIP]})
    image = root / 'images/a.png'
    content = bytearray(image.read_bytes())
    content[content.index(b'IDAT') + 6] ^= 255
    image.write_bytes(content)
    assert defects('dota', root) == [('a.png', 'not a readable image')]


def test_every_list_of_hrsc2016(tmp_path: Path) -> None:
    images = {f'{stem}.bmp': [hrsc_object()] for stem in 'abcd'}
    root = write_hrsc2016(tmp_path, images)
    lists = root / 'ImageSets'
    (lists / 'trainval.txt').write_text('a\nx\na\n')
    (lists / 'test.txt').write_text('b\n')
    (root / 'FullDataSet/Annotations/b.xml').unlink()
    # Nobody reads an image that is in no list: it needs no annotation.
    (root / 'FullDataSet/Annotations/c.xml').unlink()
    (root / 'FullDataSet/AllImages/d.bmp').unlink()
    assert defects('hrsc2016', root) == [
        ('test.txt:1', 'annotation file is missing'),
        ('trainval.txt:2', 'image is missing'),
        ('trainval.txt:3', 'listed twice'),
        ('d.xml', 'annotation file without image'),
    ]
    report = check_dataset('hrsc2016', root, progress=False)
    assert report.folders[0].line.endswith(', 2 annotation files, 2 images in no list')
    for file in lists.iterdir():
        file.write_text('\n')
    assert ('test.txt', 'empty list') in defects('hrsc2016', root)
    for file in lists.iterdir():
        file.unlink()
    assert ('ImageSets', 'no lists of images') in defects('hrsc2016', root)


def test_images_in_no_list_are_checked(tmp_path: Path) -> None:
    root = write_hrsc2016(tmp_path, {'a.bmp': [], 'b.bmp': []})
    (root / 'ImageSets/trainval.txt').write_text('a\n')
    (root / 'FullDataSet/Annotations/b.xml').write_text(hrsc_xml(['x']))
    assert defects('hrsc2016', root) == [('b.xml:4', 'stray text')]


def test_version_of_dota(tmp_path: Path) -> None:
    root = write_dota(tmp_path, {'a.png': [SHIP.replace('ship', 'helipad')]})
    assert defects('dota', root) == [('a.txt:1', 'unknown class')]
    assert defects('dota', root, version='2.0') == []


@pytest.mark.parametrize(
    ('arguments', 'options', 'message'),
    [
        (('coco', '.'), {}, "layout: got 'coco', expected one of visdrone, dota"),
        (('dota',), {}, 'folders: got none'),
        (('dota', '.'), {'version': '3.0'}, r"got '3\.0' for the layout dota, expect"),
        (('visdrone', '.'), {'version': '1.0'}, 'layout visdrone, expected none'),
        (('dota', 'nowhere'), {}, 'nowhere: no data set of this layout: expected im'),
    ],
)
def test_wrong_usage(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_dataset(*arguments, progress=False, **options)


def test_bar_is_silent_on_request(tmp_path: Path, capsys) -> None:
    root = write_dota(tmp_path, {'a.png': [SHIP]})
    check_dataset('dota', root, progress=False)
    assert capsys.readouterr() == ('', '')
    check_dataset('dota', root)
    out, err = capsys.readouterr()
    assert out == ''
    assert '1/1' in err


def test_objects_and_what_is_none(tmp_path: Path) -> None:
    lines = [CAR, BUS, REGION, OTHER, PALE]
    root = write_visdrone(tmp_path, {'a.jpg': lines, 'b.jpg': [CAR]})
    found = check_dataset('visdrone', root, progress=False).statistics
    assert (found.objects, found.images) == ({'car': 2, 'bus': 1},) * 2
    others = {'ignored region': 1, 'others': 1, 'car of score 0': 1}
    assert (found.others, found.difficult) == (others, {})
    np.testing.assert_array_equal(found.sides, [(10, 12), (8, 6), (10, 12)])


def test_rotated_sides(tmp_path: Path) -> None:
    root = write_dota(tmp_path / 'dota', {'a.png': [SHIP, PLANE]})
    found = check_dataset('dota', root, progress=False).statistics
    assert (found.objects, found.difficult) == ({'ship': 1, 'plane': 1}, {'plane': 1})
    np.testing.assert_allclose(sorted(found.sides[0]), [6, 10], atol=1e-4)
    root = write_hrsc2016(
        tmp_path / 'hrsc', {'a.bmp': [hrsc_object(difficult=1, Class_ID=100000021)]}
    )
    found = check_dataset('hrsc2016', root, progress=False).statistics
    assert found.difficult == {'type 100000021': 1}
    np.testing.assert_allclose(found.sides, [(20, 8)])


def test_sizes_are_those_of_coco() -> None:
    statistics = ObjectStatistics()
    assert statistics.lines() == []
    sides = [(2, 8), (31.9, 32), (32, 32), (16, 64), (95, 96), (96, 96), (500, 200)]
    statistics.add(FoundObject('car', side) for side in sides)
    statistics.add([FoundObject('van', (10, 10), difficult=True)])
    assert statistics.sizes == {'small': 3, 'medium': 3, 'large': 2}
    assert statistics.images == Counter(car=1, van=1)
    lines = statistics.lines()
    assert lines[:3] == [
        'class   objects    images difficult',
        'car           7         1         0',
        'van           1         1         1',
    ]
    assert lines[3].startswith('8 objects: 3 small (37.5%), 3 medium (37.5%), 2 large')
    shares, scales = lines[4].split(), lines[5].split()
    assert dict(zip(shares[3:], scales[3:], strict=False))['50%'] == '32'
    assert lines[6] == 'sides from 2 to 500 px'


def test_real_data(real_data: Path) -> None:
    report = check_dataset('hrsc2016', real_data / 'HRSC2016-mini', progress=False)
    assert (report.defects, report.statistics.objects) == ([], {'ship': 298})
    report = check_dataset('dota', real_data / 'DOTA-mini/split_1024', progress=False)
    assert report.kinds == {'zero area': 2}
    assert report.statistics.objects.total() == 492
