from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from mmrotate.datasets import HRSCDataset

from aerialkd.datasets import HRSC2016Dataset
from aerialkd.datasets.made import make_data
from aerialkd.datasets.metainfo import dataset_metainfo
from aerialkd.errors import AnnotationError, ConfigError
from aerialkd.registry import DATASETS
from tests.exports import config
from tests.miniatures import hrsc_object, write_hrsc2016

SHIP = hrsc_object((30, 20, 20, 8, 0))
CRUISE = hrsc_object((30, 20, 20, 8, 0.5), Class_ID='100000026', difficult=1)
NAMELESS = hrsc_object((30, 20, 20, 8, 0.5), Class_ID='100000021')
IMAGES = {'2.bmp': [SHIP, CRUISE], '1.jpg': [], '3.PNG': [CRUISE]}
LOAD = [
    {'type': 'mmdet.LoadImageFromFile'},
    {'type': 'mmdet.LoadAnnotations', 'with_bbox': True, 'box_type': 'qbox'},
    {'type': 'mmrotate.ConvertBoxType', 'box_type_mapping': {'gt_bboxes': 'rbox'}},
    {'type': 'mmdet.PackDetInputs'},
]
LIST = 'ImageSets/trainval.txt'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_hrsc2016(tmp_path / 'data', IMAGES)


def build(root: Path, **options: Any) -> HRSC2016Dataset:
    return DATASETS.build(
        {'type': 'aerialkd.HRSC2016Dataset', 'data_root': str(root), **options}
    )


def labels(dataset: HRSC2016Dataset) -> list[list[int]]:
    return [dataset.get_cat_ids(index) for index in range(len(dataset))]


def test_reads_the_native_layout(root: Path) -> None:
    dataset = build(root)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    # In the order of the list.
    assert [info['img_id'] for info in infos] == ['2', '1', '3']
    assert [info['file_name'] for info in infos] == ['2.bmp', '1.jpg', '3.PNG']
    assert infos[0]['img_path'] == str(root / 'FullDataSet' / 'AllImages' / '2.bmp')
    assert all((info['width'], info['height']) == (64, 48) for info in infos)
    assert [len(info['instances']) for info in infos] == [2, 0, 1]
    assert infos[0]['instances'][0] == {
        'bbox': [40, 24, 40, 16, 20, 16, 20, 24],
        'bbox_label': 0,
        'ignore_flag': 0,
    }
    assert dataset.metainfo == {'classes': ('ship',), 'palette': [(220, 20, 60)]}


def test_types_of_ships(root: Path) -> None:
    dataset = build(root, classwise=True)
    assert dataset.metainfo['classes'] == HRSCDataset.METAINFO['classes']
    assert dataset.metainfo['palette'] == HRSCDataset.METAINFO['palette']
    cruise = dataset.metainfo['classes'].index('Cruise')
    assert labels(dataset) == [[0, cruise], [], [cruise]]
    dataset = build(root, classwise=True, metainfo={'classes': ('yacht', 'Cruise')})
    assert labels(dataset) == [[1], [], [1]]
    with pytest.raises(ConfigError, match='out of ship; correct it'):
        build(root, metainfo={'classes': ('Cruise',)})


def test_export_knows_the_types_of_ships() -> None:
    cfg = config({}, type='aerialkd.HRSC2016Dataset', classwise=True, metainfo={})
    assert len(dataset_metainfo(cfg)['classes']) == 31
    cfg = config({}, type='aerialkd.HRSC2016Dataset', metainfo={})
    assert dataset_metainfo(cfg)['classes'] == ('ship',)


def test_number_without_a_name_is_a_ship(tmp_path: Path) -> None:
    root = write_hrsc2016(tmp_path, {'1.bmp': [NAMELESS]})
    assert labels(build(root)) == [[0]]
    with pytest.raises(AnnotationError, match=r'1\.xml:5: .*/Class_ID: unknown'):
        build(root, classwise=True)


@pytest.mark.parametrize(
    ('options', 'flags'),
    [
        ({}, [0, 0]),
        ({'test_mode': True}, [0, 1]),
        ({'ignore_difficult': True}, [0, 1]),
        ({'test_mode': True, 'ignore_difficult': False}, [0, 0]),
    ],
)
def test_difficult_objects(root: Path, options: dict, flags: list) -> None:
    instances = build(root, **options).get_data_info(0)['instances']
    assert [instance['ignore_flag'] for instance in instances] == flags


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('1\n\n4\n', r"trainval\.txt:3: image is missing: got none for '4', expected"),
        ('1.jpg\n', r"trainval\.txt:1: image is missing: got none for '1\.jpg'"),
        ('1\n2\n1\n', r'trainval\.txt:3: listed twice: got 1 here and at .*txt:1'),
        ('\n', r'trainval\.txt: empty list'),
    ],
)
def test_list_that_does_not_fit(root: Path, text: str, message: str) -> None:
    (root / LIST).write_text(text)
    with pytest.raises(AnnotationError, match=message):
        build(root)


def test_annotation_file_is_missing(root: Path) -> None:
    (root / 'FullDataSet' / 'Annotations' / '1.xml').unlink()
    with pytest.raises(
        AnnotationError, match=r"trainval\.txt:2: annotation file is missing.*'1'"
    ):
        build(root)
    # Only what is listed counts.
    (root / LIST).write_text('\ufeff2\r\n3\r\n', encoding='utf-8')
    assert len(build(root)) == 2


def test_bad_object_stops_or_is_skipped(root: Path) -> None:
    file = root / 'FullDataSet' / 'Annotations' / '2.xml'
    good = file.read_text()
    file.write_text(good.replace('<mbox_w>20', '<mbox_w>-20', 1))
    with pytest.raises(AnnotationError, match=r'2\.xml:5: .*Object\[1\]/mbox_w: empty'):
        build(root)
    dataset = build(root, bad_annotations='skip')
    assert dataset.num_bad_annotations == 1
    assert labels(dataset) == [[0], [], [0]]
    file.write_text(good[:-5])
    with pytest.raises(AnnotationError, match=r'2\.xml:8: no well-formed XML'):
        build(root)
    dataset = build(root, bad_annotations='skip')
    assert (dataset.num_bad_annotations, dataset.num_bad_images) == (1, 0)
    assert labels(dataset) == [[], [0]]  # nobody knows what is in its image
    file.write_text(good)
    assert build(root, bad_annotations='skip').num_bad_annotations == 0


def test_without_annotations_for_testing(root: Path) -> None:
    prefix = {'img_path': 'FullDataSet/AllImages'}
    (root / LIST).write_text('3\n1\n')
    dataset = build(root, data_prefix=prefix, test_mode=True)
    assert [info['img_id'] for info in map(dataset.get_data_info, range(2))] == [
        '3',
        '1',
    ]
    assert dataset.get_data_info(0)['instances'] == []
    with pytest.raises(ConfigError, match=r'AllImages.*FullDataSet/Annotations'):
        build(root, data_prefix=prefix)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'ann_file': ''}, "ann_file: got '', expected the list of images"),
        ({'ann_file': 'x.txt'}, r'ann_file: got .*x\.txt, expected a list of images'),
        ({'data_prefix': {'img_path': 'x', 'ann_path': 'y'}}, 'x: no such folder'),
        ({'bad_annotations': 'ignore'}, "bad_annotations: got 'ignore'"),
        ({'ignore_difficult': 'yes'}, "ignore_difficult: got 'yes'"),
    ],
)
def test_options_that_do_not_fit(root: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(root, **options)


def test_pipeline_yields_rotated_boxes(root: Path) -> None:
    dataset = build(root, pipeline=LOAD, filter_cfg={'filter_empty_gt': True})
    assert len(dataset) == 2
    boxes = dataset[1]['data_samples'].gt_instances.bboxes
    regular = boxes.regularize_boxes(pattern='le90')
    torch.testing.assert_close(regular, torch.tensor([[30, 20, 20, 8, 0.5]]))


def compare(root: Path) -> int:
    """Require mmrotate's annotations; returns how many there are."""
    ours = build(root)
    theirs = HRSCDataset(
        data_root=str(root),
        ann_file=LIST,
        data_prefix={'sub_data_root': 'FullDataSet/'},
    )
    assert len(ours) == len(theirs)
    number = 0
    for index in range(len(ours)):
        mine, other = ours.get_data_info(index), theirs.get_data_info(index)
        assert mine['img_id'] == other['img_id']
        corners, expected = (
            np.reshape([i['bbox'] for i in info['instances']], (-1, 8))
            for info in (mine, other)
        )
        np.testing.assert_allclose(corners, expected, rtol=0, atol=2e-3)  # float32
        number += len(corners)
    return number


def test_made_data_are_read_as_mmrotate_reads_them(tmp_path: Path) -> None:
    made = make_data('hrsc2016', tmp_path, images=4, size=96, progress=False)
    assert compare(made) > 2
    assert len(build(made, ann_file='ImageSets/test.txt', test_mode=True)) == 1


def test_real_images(real_data: Path) -> None:
    root = real_data / 'HRSC2016-mini'
    dataset = build(root)
    assert (len(dataset), sum(map(len, labels(dataset)))) == (75, 235)
    dataset = build(root, ann_file='ImageSets/test.txt', test_mode=True)
    assert (len(dataset), sum(map(len, labels(dataset)))) == (30, 63)
    differences = []
    for info in map(dataset.get_data_info, range(30)):
        stem = info['img_id']
        tree = ElementTree.parse(root / 'FullDataSet' / 'Annotations' / f'{stem}.xml')
        tags = ('box_xmin', 'box_ymin', 'box_xmax', 'box_ymax')
        upright = [[float(e.text) for e in tree.iter(tag)] for tag in tags]
        corners = np.array([i['bbox'] for i in info['instances']]).reshape(-1, 4, 2)
        bounds = np.hstack([corners.min(axis=1), corners.max(axis=1)])
        differences.append(np.abs(bounds - np.transpose(upright)))
    assert np.median(np.concatenate(differences)) < 1
