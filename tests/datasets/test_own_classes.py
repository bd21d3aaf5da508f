"""The user's own classes in every native layout, from the reader to merged scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config

from aerialkd.datasets import DOTADataset, HRSC2016Dataset, VisDroneDataset
from aerialkd.datasets.checking import check_dataset
from aerialkd.datasets.class_lists import class_list
from aerialkd.datasets.dota_format import CLASSES as VERSIONS
from aerialkd.datasets.dota_format import read_annotations
from aerialkd.datasets.dota_tiles import split_dota
from aerialkd.datasets.hrsc2016 import ship_names
from aerialkd.datasets.images import read_image_size
from aerialkd.datasets.metainfo import dataset_metainfo
from aerialkd.datasets.native import NativeDataset
from aerialkd.errors import AnnotationError, ConfigError
from aerialkd.evaluation import RotatedMetric
from aerialkd.evaluation.task1 import SceneDetections, read_task1, write_task1
from tests.dota_scenes import line, rectangle, write_scenes
from tests.miniatures import (
    hrsc_object,
    write_dota,
    write_hrsc2016,
    write_visdrone,
)

OWN = ('insulator', 'isolátor-塔')
BOX = '1 2 11 2 11 8 1 8 {} 0'
SECOND = (30, 20, 20, 9, 0.5)
Builder = Callable[..., NativeDataset]


@pytest.fixture
def dota(tmp_path: Path) -> Path:
    other = BOX.replace('11 8', '11 9').format(OWN[1])
    lines = [BOX.format('insulator'), BOX.format('ship'), other]
    return write_dota(tmp_path / 'dota', {'P1.png': lines, 'P2.png': []})


@pytest.fixture
def visdrone(tmp_path: Path) -> Path:
    lines = [f'{9 * n},2,8,12,1,{n},0,0' for n in range(4)]
    return write_visdrone(tmp_path / 'visdrone', {'a.jpg': lines})


@pytest.fixture
def hrsc2016(tmp_path: Path) -> Path:
    ships = [hrsc_object(), hrsc_object(SECOND, Class_ID=100000002)]
    return write_hrsc2016(tmp_path / 'hrsc', {'a.bmp': ships})


def labels(dataset: NativeDataset) -> list[list[int]]:
    return [dataset.get_cat_ids(index) for index in range(len(dataset))]


def chosen(*names: str, **more: Any) -> dict:
    return {'metainfo': {'classes': names, **more}}


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'classes': (*OWN, 'ship')}, [0, 2, 1]),
        ({'classes': ['ship', *OWN]}, [1, 0, 2]),
        (chosen('ship', *OWN), [1, 0, 2]),
        ({'classes': (*OWN, 'ship'), **chosen(*OWN, 'ship')}, [0, 2, 1]),
        # Some of them, in another order: the others are left out, as ever.
        ({'classes': (*OWN, 'ship'), **chosen('ship', 'insulator')}, [1, 0]),
        # Whatever the version has.
        ({'classes': (*OWN, 'ship', 'helipad'), 'version': '2.0'}, [0, 2, 1]),
    ],
)
def test_dota(dota: Path, options: dict, expected: list[int]) -> None:
    dataset = DOTADataset(data_root=dota, **options)
    assert labels(dataset) == [expected, []]
    names = dataset.metainfo['classes']
    assert len(dataset.metainfo['palette']) == len(names) == len(set(names))
    ship = dataset.metainfo['palette'][names.index('ship')]
    known = dict(zip(VERSIONS['1.0'], DOTADataset.METAINFO['palette'], strict=True))
    assert ship == known['ship']


def test_unknown_class_is_one_against_the_list(dota: Path) -> None:
    with pytest.raises(AnnotationError) as error:
        DOTADataset(data_root=dota, classes=OWN)
    assert "P1.txt:2: unknown class: got 'ship', expected one of insu" in str(
        error.value
    )
    assert 'plane' not in str(error.value)
    # DOTA 2.0 has it, but the version says nothing here.
    write_dota(dota, {'P1.png': [BOX.format('insulator'), BOX.format('helipad')]})
    with pytest.raises(AnnotationError, match="got 'helipad', expected one of insul"):
        DOTADataset(data_root=dota, classes=OWN)


def test_unknown_class_of_the_default_names_the_way(
    dota: Path, visdrone: Path, hrsc2016: Path
) -> None:
    (visdrone / 'annotations/a.txt').write_text('1,2,8,12,1,12,0,0\n')
    file = hrsc2016 / 'FullDataSet/Annotations/a.xml'
    file.write_text(file.read_text().replace('100000002', '100000099'))
    for kind, root in (
        (DOTADataset, dota),
        (VisDroneDataset, visdrone),
        (HRSC2016Dataset, hrsc2016),
    ):
        with pytest.raises(AnnotationError) as error:
            kind(data_root=root)
        assert 'unknown class: got ' in str(error.value)
        assert 'classes=(...) of the data set, --classes of the tools' in str(
            error.value
        )


@pytest.mark.parametrize(
    ('options', 'numbers', 'expected'),
    [
        ({'classes': ('a', 'b', 'c')}, (1, 2, 3), [0, 1, 2]),
        (chosen('a', 'b', 'c'), (1, 2, 3), [0, 1, 2]),
        ({'classes': ('a', 'b', 'c'), **chosen('c', 'a')}, (3, 1), [1, 0]),
        # Their own ten, under other names, keep their "others".
        ({'classes': tuple('abcdefghij')}, tuple(range(1, 11)), [0, 1, 2]),
        ({'classes': tuple('abcdefghijkl')}, tuple(range(1, 13)), [0, 1, 2]),
    ],
)
def test_visdrone(
    visdrone: Path, options: dict, numbers: tuple[int, ...], expected: list[int]
) -> None:
    dataset = VisDroneDataset(data_root=visdrone, **options)
    assert labels(dataset) == [expected]
    assert dataset.metainfo['category_ids'] == numbers
    assert len(dataset.metainfo['palette']) == len(numbers)
    regions = [i['ignore_flag'] for i in dataset.get_data_info(0)['instances']]
    assert sum(regions) == 1


@pytest.mark.parametrize(
    ('count', 'number', 'expected'),
    [(3, 4, None), (3, 11, None), (10, 11, []), (10, 12, None), (12, 11, [10])],
)
def test_last_number_of_visdrone(
    visdrone: Path, count: int, number: int, expected: list[int] | None
) -> None:
    (visdrone / 'annotations/a.txt').write_text(f'1,2,8,12,1,{number},0,0\n')
    names = tuple('abcdefghijkl'[:count])
    if expected is None:
        with pytest.raises(
            AnnotationError, match=rf'got {number}, expected 0 to .*\(a'
        ):
            VisDroneDataset(data_root=visdrone, classes=names)
    else:
        dataset = VisDroneDataset(data_root=visdrone, classes=names)
        assert labels(dataset) == [expected]


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'classes': OWN}, [0, 1]),
        (chosen(*OWN), [0, 1]),
        ({'classes': ('vessel',)}, [0, 0]),
        ({'classes': OWN, **chosen(OWN[1])}, [0]),
        ({'classes': ('ship',)}, [0, 0]),
    ],
)
def test_hrsc2016(hrsc2016: Path, options: dict, expected: list[int]) -> None:
    dataset = HRSC2016Dataset(data_root=hrsc2016, **options)
    assert labels(dataset) == [expected]


def test_ships_by_type_or_name(hrsc2016: Path) -> None:
    with pytest.raises(AnnotationError, match="unknown class: got '100000002', expec"):
        HRSC2016Dataset(data_root=hrsc2016, classes=('vessel',), classwise=True)
    file = hrsc2016 / 'FullDataSet/Annotations/a.xml'
    file.write_text(file.read_text().replace('100000002', OWN[1]), encoding='utf-8')
    assert labels(HRSC2016Dataset(data_root=hrsc2016, classes=OWN)) == [[0, 1]]
    assert set(ship_names().values()) == {'ship'}


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('ship', r"expected a tuple .* \(one name: \['ship'\]\)"),
        ((), 'expected a tuple of different names; '),
        (('ship', 'ship'), r'\(ship is there more than once\)'),
        (('ship', 3), 'expected a tuple'),
        ({'ship', 'plane'}, 'expected a tuple'),
        (('ship', ''), r"\('' is none\)"),
        ((' ship',), 'is none'),
        (('ship\nplane',), 'is none'),
        (('power line',), "separates the fields of a line.*write 'power-line'"),
        (('power\u3000line',), 'separates the fields of a line'),
    ],
)
def test_lists_that_are_none(dota: Path, classes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f'^classes: got .*{message}'):
        DOTADataset(data_root=dota, classes=classes)
    with pytest.raises(ConfigError, match=rf'^metainfo\.classes: got .*{message}'):
        DOTADataset(data_root=dota, metainfo={'classes': classes})
    with pytest.raises(ConfigError, match=f'^classes: got .*{message}'):
        check_dataset('dota', dota, classes=classes, progress=False)
    with pytest.raises(ConfigError, match=f'^classes: got .*{message}'):
        split_dota(dota, dota / 'tiles', progress=False, classes=classes)


def test_blanks_stand_in_no_line_of_numbers(visdrone: Path) -> None:
    names = ('power line', 'a', 'b')
    assert VisDroneDataset(data_root=visdrone, classes=names).metainfo['classes'][0]


@pytest.mark.parametrize(
    ('builder', 'options'),
    [
        # Which number would be which, of VisDrone's or of the user's?
        ('visdrone', chosen('car', 'insulator')),
        ('hrsc2016', chosen('ship', 'insulator')),
        # Both lists, and one has what the other has not.
        ('dota', {'classes': OWN, **chosen('insulator', 'ship')}),
        ('visdrone', {'classes': ('a', 'b'), **chosen('c')}),
    ],
)
def test_two_lists_that_disagree(
    builder: str, options: dict, request: pytest.FixtureRequest
) -> None:
    kinds = {
        'dota': DOTADataset,
        'visdrone': VisDroneDataset,
        'hrsc2016': HRSC2016Dataset,
    }
    with pytest.raises(ConfigError, match=r'metainfo\.classes: .*state all classes'):
        kinds[builder](data_root=request.getfixturevalue(builder), **options)


def test_palette_of_another_length(dota: Path) -> None:
    palette = {'palette': [(1, 2, 3)]}
    with pytest.raises(ConfigError, match=r'palette: got 1 colours, .* the 3 classes'):
        DOTADataset(data_root=dota, **chosen('ship', *OWN, **palette))


def test_names_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / 'classes.txt'
    file.write_text('insulator\n\npower line\n')
    for stated in (str(file), [str(file)]):  # as a tool's --classes gives it
        assert class_list(stated, 'classes') == ('insulator', 'power line')


def test_config_says_what_the_classes_are() -> None:
    dataset = dict(type='aerialkd.VisDroneDataset', classes=['a', 'b'])
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    known = dataset_metainfo(cfg)
    assert (known['classes'], known['category_ids']) == (('a', 'b'), (1, 2))
    assert len(known['palette']) == 2


@pytest.mark.parametrize(
    ('layout', 'classes', 'expected'),
    [
        ('dota', [*OWN, 'ship'], dict.fromkeys([*OWN, 'ship'], 1)),
        ('visdrone', list('abc'), {'a': 1, 'b': 1, 'c': 1}),
        ('hrsc2016', list(OWN), dict.fromkeys(OWN, 1)),
        ('hrsc2016', ['vessel'], {'vessel': 2}),
    ],
)
def test_check(
    layout: str, classes: list, expected: dict, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(layout)
    report = check_dataset(layout, root, classes=classes, progress=False)
    assert (report.defects, report.statistics.objects) == ([], expected)


@pytest.mark.parametrize('layout', ['dota', 'visdrone'])
def test_check_against_the_list(layout: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(layout)
    report = check_dataset(layout, root, classes=['insulator'], progress=False)
    assert report.kinds == {'unknown class': 2}
    assert report.statistics.objects == {'insulator': 1}


def test_check_takes_one_of_both(dota: Path) -> None:
    with pytest.raises(ConfigError, match=r"version: got '2\.0' beside classes"):
        check_dataset('dota', dota, version='2.0', classes=OWN, progress=False)


def test_from_scenes_to_scenes(run: Callable, tmp_path: Path) -> None:
    """Reader, check, tiles, detections, merged detections, and their measure."""
    lines = [line(rectangle(x, 40, 12, 5, x), OWN[x % 2]) for x in (14, 33, 52, 75)]
    root = write_scenes(tmp_path / 'in', {'P1': lines, 'P2': []})
    assert labels(DOTADataset(data_root=root, classes=OWN)) == [[0, 1, 0, 1], []]
    classes, out = ('--classes', *OWN), tmp_path / 'tiles'
    assert run('check_dataset', 'dota', root, '--quiet', *classes) == ('', 0)
    split = ('split_dota', root, '--out', out, '--sizes', 40, '--gaps', 20)
    last, status = run(*split)
    assert (status, 'unknown class' in last, '--classes' in last) == (2, True, True)
    assert not out.exists()
    assert run(*split, *classes)[1] == 0
    assert run('split_dota', root, '--out', out, '--verify-only')[1] == 0
    tiles = DOTADataset(data_root=out, classes=OWN, test_mode=True)
    found = []
    for info in map(tiles.get_data_info, range(len(tiles))):
        boxes = [i['bbox'] for i in info['instances']]
        found.append(
            SceneDetections(
                info['img_id'],
                np.array(boxes, np.float64).reshape(-1, 8),
                np.array([i['bbox_label'] for i in info['instances']], np.int64),
                np.full(len(boxes), 0.5),
            )
        )
    write_task1(tmp_path / 'found', found, OWN)
    merge = ('merge_dota', tmp_path / 'found', '--out', tmp_path / 'merged')
    last, status = run(*merge)
    assert (status, '--classes insulator' in last) == (2, True)
    assert run(*merge, '--zip', *classes) == ('', 0)
    (scene,) = read_task1(tmp_path / 'merged', OWN)
    assert sorted(scene.labels.tolist()) == [0, 0, 1, 1]
    assert measure(found, root) == {
        'rotated/mAP50': 1.0,
        'rotated/scenes/mAP50': 1.0,
    }


def measure(tiles: list[SceneDetections], root: Path) -> dict[str, float]:
    """Of the second class alone, where the scenes' files have both."""
    scenes = dict(img_path=str(root / 'images'), ann_path=str(root / 'labelTxt'))
    metric = RotatedMetric(merging=dict(scenes={**scenes, 'classes': OWN}))
    metric.dataset_meta = {'classes': OWN[1:]}
    for tile in tiles:
        second = tile.labels == 1
        boxes = tile.boxes[second]
        zeros = np.zeros(second.sum(), np.int64)
        instances = [dict(bbox=box, bbox_label=0, ignore_flag=0) for box in boxes]
        found = dict(bboxes=boxes, labels=zeros, scores=tile.scores[second])
        metric.process(
            None,
            [
                dict(
                    img_id=tile.name,
                    img_path=f'{tile.name}.png',
                    ori_shape=(40, 40),
                    instances=instances,
                    pred_instances=found,
                )
            ],
        )
    measures = metric.evaluate(len(tiles))
    return {key: round(measures[key], 6) for key in measures if key.endswith('mAP50')}


def test_tiles_remember_the_classes(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / 'in', {'P1': [line(rectangle(30, 40, 12, 5), 'a')]})
    options: dict[str, Any] = dict(progress=False, sizes=(64,), gaps=(20,))
    split_dota(root, tmp_path / 'out', classes=('a', 'b'), **options)
    with pytest.raises(ConfigError, match=r"got images of .*'classes': \['a', 'b'\]"):
        split_dota(root, tmp_path / 'out', classes=('a',), **options)
    label = next((tmp_path / 'out/labelTxt').glob('*0___0.txt'))
    image = tmp_path / 'out/images' / f'{label.stem}.png'
    assert read_annotations(label, read_image_size(image), ('a',))[0].name == 'a'


def test_classes_of_a_version_make_its_tiles(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / 'in', {'P1': []})
    options: dict[str, Any] = dict(progress=False, sizes=(64,), gaps=(20,))
    split_dota(root, tmp_path / 'out', **options)
    manifest = (tmp_path / 'out/tiles.json').read_text()
    assert '"version": "1.0"' in manifest
    assert 'classes' not in manifest
    split_dota(root, tmp_path / 'out', classes=VERSIONS['1.0'], **options)
    with pytest.raises(ConfigError, match='got images of'):
        split_dota(root, tmp_path / 'out', classes=VERSIONS['2.0'], **options)


def test_no_file_for_a_class(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got 'a/b', expected names without / for"):
        write_task1(tmp_path, [], ('a/b',))
