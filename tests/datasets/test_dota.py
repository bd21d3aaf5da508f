from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmrotate.datasets import DOTADataset as TheirDataset
from mmrotate.structures.bbox import qbox2rbox

from aerialkd.datasets import DOTADataset
from aerialkd.datasets.dota_format import CLASSES
from aerialkd.datasets.made import make_data
from aerialkd.datasets.metainfo import dataset_metainfo
from aerialkd.errors import AnnotationError, ConfigError
from aerialkd.registry import DATASETS
from tests.exports import config
from tests.miniatures import write_dota

SHIP, PLANE, CUT = (
    '1 2 11 2 11 8 1 8 ship 0',
    '30 10 50 20 45 30 25 20 plane 1',
    '60 20 70 20 70 30 60 30 harbor 2',  # over the border
)
IMAGES = {'P2.png': [SHIP, PLANE, CUT], 'P1.JPG': [], 'P3.tif': ['gsd:null', SHIP]}
LOAD = [
    {'type': 'mmdet.LoadImageFromFile'},
    {'type': 'mmdet.LoadAnnotations', 'with_bbox': True, 'box_type': 'qbox'},
    {'type': 'mmrotate.ConvertBoxType', 'box_type_mapping': {'gt_bboxes': 'rbox'}},
    {'type': 'mmdet.PackDetInputs'},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dota(tmp_path / 'data', IMAGES)


def build(root: Path, **options: Any) -> DOTADataset:
    return DATASETS.build(
        {'type': 'aerialkd.DOTADataset', 'data_root': str(root), **options}
    )


def labels(dataset: DOTADataset) -> list[list[int]]:
    return [dataset.get_cat_ids(index) for index in range(len(dataset))]


def ignored(dataset: DOTADataset) -> list[int]:
    return [i['ignore_flag'] for i in dataset.get_data_info(1)['instances']]


def test_reads_the_native_layout(root: Path) -> None:
    dataset = build(root)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [info['img_id'] for info in infos] == ['P1', 'P2', 'P3']
    assert [info['file_name'] for info in infos] == ['P1.JPG', 'P2.png', 'P3.tif']
    assert infos[0]['img_path'] == str(root / 'images' / 'P1.JPG')
    assert all((info['width'], info['height']) == (64, 48) for info in infos)
    assert infos[0]['instances'] == []
    ship = {'bbox': [1, 2, 11, 2, 11, 8, 1, 8], 'bbox_label': 6, 'ignore_flag': 0}
    assert infos[2]['instances'] == [ship]
    assert infos[1]['instances'] == [
        ship,
        {'bbox': [30, 10, 50, 20, 45, 30, 25, 20], 'bbox_label': 0, 'ignore_flag': 0},
        {'bbox': [60, 20, 70, 20, 70, 30, 60, 30], 'bbox_label': 12, 'ignore_flag': 0},
    ]


@pytest.mark.parametrize('version', CLASSES)
def test_classes_follow_the_version(tmp_path: Path, version: str) -> None:
    names = CLASSES[version]
    lines = [SHIP.replace('ship', name) for name in names]
    dataset = build(write_dota(tmp_path, {'a.png': lines}), version=version)
    assert dataset.metainfo['classes'] == names
    # A list: mmdet reads a tuple as one colour for all classes.
    assert isinstance(dataset.metainfo['palette'], list)
    assert len(set(dataset.metainfo['palette'])) == len(names)
    assert labels(dataset) == [list(range(len(names)))]


def test_export_knows_the_classes_of_the_version() -> None:
    cfg = config({}, type='aerialkd.DOTADataset', version='1.5', metainfo={})
    assert dataset_metainfo(cfg)['classes'] == CLASSES['1.5']


def test_class_of_a_later_version(tmp_path: Path) -> None:
    root = write_dota(tmp_path, {'a.png': [SHIP.replace('ship', 'helipad')]})
    with pytest.raises(AnnotationError, match=r"a\.txt:1: .*set version='2\.0'"):
        build(root)


def test_chosen_classes_get_labels_in_the_order_given(root: Path) -> None:
    dataset = build(root, metainfo={'classes': ('harbor', 'ship')})
    assert labels(dataset) == [[], [1, 0], [1]]
    palette = DOTADataset.METAINFO['palette']
    assert dataset.metainfo['palette'] == [palette[12], palette[6]]


@pytest.mark.parametrize('classes', [('ship', 'helipad'), 'ship', ('ship', 'ship'), ()])
def test_classes_that_do_not_exist(root: Path, classes: Any) -> None:
    with pytest.raises(
        ConfigError, match=r'metainfo\.classes: got .* expected a tuple'
    ):
        build(root, metainfo={'classes': classes})


@pytest.mark.parametrize(
    ('options', 'flags'),
    [
        ({}, [0, 0, 0]),
        ({'test_mode': True}, [0, 1, 1]),
        ({'ignore_difficult': True}, [0, 1, 1]),
        ({'test_mode': True, 'ignore_difficult': False}, [0, 0, 0]),
    ],
)
def test_difficult_objects(root: Path, options: dict, flags: list) -> None:
    assert ignored(build(root, **options)) == flags


def test_filter_works_in_training_only(root: Path) -> None:
    filter_cfg = {'filter_empty_gt': True}
    assert len(build(root, filter_cfg=filter_cfg)) == 2
    assert len(build(root, filter_cfg=filter_cfg, test_mode=True)) == 3
    planes = {'classes': ('plane',)}
    assert len(build(root, filter_cfg=filter_cfg, metainfo=planes)) == 1
    with pytest.raises(ConfigError, match='leaves none of the 3 images'):
        build(root, filter_cfg=filter_cfg, metainfo=planes, ignore_difficult=True)


def test_bad_line_stops_or_is_skipped(root: Path) -> None:
    file = root / 'labelTxt' / 'P1.txt'
    file.write_text(f'{SHIP}\n{SHIP} 1\n1 187 1 187 1 219 1 219 ship 2\n{PLANE}\n')
    with pytest.raises(AnnotationError, match=r'P1\.txt:2: wrong number of fields'):
        build(root)
    dataset = build(root, bad_annotations='skip')
    assert dataset.num_bad_annotations == 2
    assert dataset.get_cat_ids(0) == [6, 0]
    clean = build(write_dota(root, IMAGES), bad_annotations='skip')
    assert clean.num_bad_annotations == 0


def test_images_and_annotations_pair(root: Path) -> None:
    (root / 'labelTxt' / 'P1.txt').unlink()
    with pytest.raises(AnnotationError, match=r'1 images have none \(first: P1\)'):
        build(root)


def test_without_annotations_for_testing(root: Path) -> None:
    prefix = {'img_path': 'images'}
    dataset = build(root, data_prefix=prefix, test_mode=True, pipeline=LOAD)
    assert [info['data_samples'].gt_instances.bboxes.shape for info in dataset] == [
        (0, 5)
    ] * 3
    with pytest.raises(ConfigError, match='expected img_path and ann_path'):
        build(root, data_prefix=prefix)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'version': '3.0'}, "version: got '3.0', expected one of '1.0', '1.5', '2.0'"),
        ({'version': 1.5}, "version: got 1.5, expected one of '1.0', '1.5', '2.0'"),
        ({'ignore_difficult': 'yes'}, "ignore_difficult: got 'yes', expected True"),
        ({'data_prefix': {'img': 'images'}}, r"for example .*ann_path='labelTxt'"),
        ({'data_prefix': {'img_path': 'x', 'ann_path': 'y'}}, 'x: no such folder'),
        ({'bad_annotations': 'ignore'}, "bad_annotations: got 'ignore'"),
        ({'ann_file': 'a.txt'}, "ann_file: got 'a.txt', expected none, as DOTADataset"),
        ({'filter_cfg': {'filter_empty': True}}, r'filter_cfg: got the keys'),
    ],
)
def test_options_that_do_not_fit(root: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(root, **options)


def test_pipeline_yields_rotated_boxes(root: Path) -> None:
    dataset = ROOT_DATASETS.build(
        {
            'type': 'RepeatDataset',
            'times': 3,
            'dataset': {
                'type': 'aerialkd.DOTADataset',
                'data_root': str(root),
                'filter_cfg': {'filter_empty_gt': True},
                'ignore_difficult': True,
                'pipeline': LOAD,
            },
        }
    )
    assert len(dataset) == 6
    sample = dataset[2]['data_samples']
    assert sample.gt_instances.labels.tolist() == [6]
    corners = torch.tensor([[30.0, 10, 50, 20, 45, 30, 25, 20]])
    ship, plane = sample.gt_instances.bboxes, sample.ignored_instances.bboxes
    torch.testing.assert_close(
        ship.tensor[0, :4].sort()[0], torch.tensor([5.0, 6, 6, 10])
    )
    torch.testing.assert_close(plane.tensor[:1], qbox2rbox(corners))


def compare(ours: DOTADataset, theirs: TheirDataset) -> int:
    """Require equal annotations; returns how many there are."""
    found = {theirs.get_data_info(i)['img_id']: i for i in range(len(theirs))}
    assert len(found) == len(ours)
    for index in range(len(ours)):
        mine = ours.get_data_info(index)
        other = theirs.get_data_info(found[mine['img_id']])
        assert mine['instances'] == other['instances']
        assert mine['file_name'] == other['file_name']
        assert mine['img_path'] == other['img_path']
    return sum(len(ours.get_data_info(i)['instances']) for i in range(len(ours)))


def test_made_data_are_read_as_mmrotate_reads_them(tmp_path: Path) -> None:
    made = make_data('dota', tmp_path, images=4, size=96, progress=False) / 'train'
    prefix = {'img_path': str(made / 'images')}
    theirs = TheirDataset(ann_file=str(made / 'labelTxt'), data_prefix=prefix)
    assert compare(build(made), theirs) > 3
    theirs = TheirDataset(
        ann_file=str(made / 'labelTxt'), data_prefix=prefix, diff_thr=0, test_mode=True
    )
    compare(build(made, test_mode=True), theirs)


def test_real_scenes(real_data: Path) -> None:
    dataset = build(real_data / 'DOTA-mini')
    names = dataset.metainfo['classes']
    assert len(dataset) == 8
    found = Counter(names[label] for image in labels(dataset) for label in image)
    assert found.total() == 1084
    assert (found['ship'], found['small-vehicle'], found['bridge']) == (555, 96, 6)


def test_real_tiles(real_data: Path) -> None:
    root = real_data / 'DOTA-mini' / 'split_1024'
    with pytest.raises(AnnotationError, match=r'P1478__1__853___962\.txt:2: zero area'):
        build(root)
    dataset = build(root, bad_annotations='skip', pipeline=LOAD)
    assert (len(dataset), dataset.num_bad_annotations) == (10, 2)
    assert sum(map(len, labels(dataset))) == 492
    for sample in dataset:
        boxes = sample['data_samples'].gt_instances.bboxes.tensor
        assert boxes[:, 2:4].min() > 1
