import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerialkd.datasets import VisDroneDataset
from aerialkd.errors import AnnotationError, ConfigError
from aerialkd.registry import DATASETS
from tests.miniatures import write_visdrone

IMAGES = {
    'b.jpg': [
        '1,2,10,12,1,4,0,0',  # car
        '30,20,8,6,1,1,0,1,',  # pedestrian
        '40,30,20,16,0,0,0,0',  # ignored region
        '5,5,9,9,1,11,0,0',  # others
        '5,5,9,9,0,4,0,0',  # not evaluated
    ],
    'a.JPG': [],
    'c.png': ['60,40,9,9,1,10,0,0'],  # motor, over the border
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_visdrone(tmp_path / 'data', IMAGES)


def build(root: Path, **options: Any) -> VisDroneDataset:
    return DATASETS.build(
        {'type': 'aerialkd.VisDroneDataset', 'data_root': str(root), **options}
    )


def instance(bbox: list, label: int, ignore: int = 0) -> dict:
    return {'bbox': bbox, 'bbox_label': label, 'ignore_flag': ignore}


def test_reads_the_native_layout(root: Path) -> None:
    dataset = build(root)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [Path(info['img_path']).name for info in infos] == [
        'a.JPG',
        'b.jpg',
        'c.png',
    ]
    assert [info['img_id'] for info in infos] == [0, 1, 2]
    assert all((info['width'], info['height']) == (64, 48) for info in infos)
    assert infos[0]['instances'] == []
    assert infos[1]['instances'] == [
        instance([1, 2, 11, 14], 3),
        instance([30, 20, 38, 26], 0),
        instance([40, 30, 60, 46], 0, ignore=1),
    ]
    assert infos[2]['instances'] == [instance([60, 40, 64, 48], 9)]
    assert [dataset.get_cat_ids(index) for index in range(3)] == [[], [3, 0], [9]]


def test_official_class_order() -> None:
    names = 'pedestrian people bicycle car van truck tricycle awning-tricycle bus motor'
    assert VisDroneDataset.METAINFO['classes'] == tuple(names.split())
    assert len(VisDroneDataset.METAINFO['palette']) == 10


def test_chosen_classes_get_labels_in_the_order_given(root: Path) -> None:
    dataset = build(root, metainfo={'classes': ('motor', 'car')})
    assert [dataset.get_cat_ids(index) for index in range(3)] == [[], [1], [0]]
    assert sum(i['ignore_flag'] for i in dataset.get_data_info(1)['instances']) == 1
    palette = VisDroneDataset.METAINFO['palette']
    # A list: mmdet reads a tuple as one colour for all classes.
    assert dataset.metainfo['palette'] == [palette[9], palette[3]]
    assert dataset.metainfo['category_ids'] == (10, 4)


@pytest.mark.parametrize('classes', [('car', 'plane'), 'car', ('car', 'car'), ()])
def test_classes_that_do_not_exist(root: Path, classes: Any) -> None:
    with pytest.raises(
        ConfigError, match=r'metainfo\.classes: got .* expected a tuple'
    ):
        build(root, metainfo={'classes': classes})


def test_filter_works_in_training_only(root: Path) -> None:
    assert len(build(root, filter_cfg={'filter_empty_gt': True})) == 2
    with pytest.raises(ConfigError, match='leaves none of the 3 images'):
        build(root, filter_cfg={'min_size': 49})
    options = {'filter_empty_gt': True, 'min_size': 49}
    assert len(build(root, filter_cfg=options, test_mode=True)) == 3
    pedestrians = {'classes': ('pedestrian',)}
    assert (
        len(build(root, filter_cfg={'filter_empty_gt': True}, metainfo=pedestrians))
        == 1
    )


def test_image_with_only_an_ignored_region_is_empty(tmp_path: Path) -> None:
    root = write_visdrone(
        tmp_path, {'a.jpg': ['1,1,9,9,0,0,0,0'], 'b.jpg': IMAGES['b.jpg']}
    )
    assert len(build(root, filter_cfg={'filter_empty_gt': True})) == 1


def test_bad_line_stops_or_is_skipped(root: Path, caplog) -> None:
    file = root / 'annotations' / 'c.txt'
    file.write_text('1,2,3,4,1,4,0,0\n1,2,3,4\n1,2,-3,4,1,4,0,0\n')
    with pytest.raises(AnnotationError, match=r'c\.txt:2: wrong number of fields'):
        build(root)
    dataset = build(root, bad_annotations='skip')
    assert dataset.num_bad_annotations == 2
    assert dataset.get_cat_ids(2) == [3]
    assert (
        build(write_visdrone(root, IMAGES), bad_annotations='skip').num_bad_annotations
        == 0
    )


def test_images_and_annotations_pair(root: Path) -> None:
    (root / 'annotations' / 'a.txt').unlink()
    with pytest.raises(
        AnnotationError, match=r'1 images have none \(first: a\), 0 files'
    ):
        build(root)
    (root / 'annotations' / 'a.txt').touch()
    (root / 'annotations' / 'z.txt').touch()
    with pytest.raises(AnnotationError, match=r'1 files have no image \(first: z\)'):
        build(root)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match='got 0 images and 0 annotation files'):
        build(write_visdrone(tmp_path, {}))


def test_without_annotations_for_testing(root: Path) -> None:
    prefix = {'img_path': 'images'}
    dataset = build(root, data_prefix=prefix, test_mode=True)
    assert len(dataset) == 3
    assert dataset.get_data_info(1)['instances'] == []
    with pytest.raises(ConfigError, match='data_prefix: got the keys'):
        build(root, data_prefix=prefix)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'data_prefix': {'img': 'images'}}, r"data_prefix: got the keys \['img'\]"),
        ({'data_prefix': {'img_path': 'x', 'ann_path': 'y'}}, 'x: no such folder'),
        ({'bad_annotations': 'ignore'}, "bad_annotations: got 'ignore'"),
        ({'ann_file': 'train.json'}, "ann_file: got 'train.json'"),
        ({'filter_cfg': {'filter_empty': True}}, r'filter_cfg: got the keys'),
    ],
)
def test_options_that_do_not_fit(root: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(root, **options)


@pytest.mark.parametrize('seed', range(4))
def test_ignored_regions_follow_flips_and_crops(root: Path, seed: int) -> None:
    dataset = build(
        root,
        pipeline=[
            {'type': 'mmdet.LoadImageFromFile'},
            {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
            {'type': 'mmdet.RandomFlip', 'prob': 1.0},
            {
                'type': 'mmdet.RandomCrop',
                'crop_size': (60, 44),
                'allow_negative_crop': True,
            },
            {'type': 'mmdet.PackDetInputs'},
        ],
    )
    np.random.seed(seed)  # noqa: NPY002 - mmdet's transforms draw from it
    sample = dataset[1]['data_samples']
    cars = sample.gt_instances[sample.gt_instances.labels == 3].bboxes.tensor
    region = sample.ignored_instances.bboxes.tensor
    assert region.shape == (1, 4)
    # Mirrored, the region lies as far left of the car as it lay right of it; neither
    # is cut further than the crop's margin of 4 px.
    width, height = (region[0, 2:] - region[0, :2]).tolist()
    assert 16 <= width <= 20
    assert 12 <= height <= 16
    assert 64 - 4 - 11 <= cars[0, 2] + 1 <= 64
    assert region[0, 2] < cars[0, 0]


def test_real_images(real_data: Path) -> None:
    dataset = build(real_data / 'VisDrone-mini' / 'train')
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    names = dataset.metainfo['classes']
    counts = collections.Counter(
        'ignored' if i['ignore_flag'] else names[i['bbox_label']]
        for info in infos
        for i in info['instances']
    )
    assert len(infos) == 299
    assert counts == {
        'car': 8662,
        'pedestrian': 4370,
        'people': 2238,
        'motor': 1992,
        'van': 1386,
        'bicycle': 680,
        'ignored': 680,
        'tricycle': 499,
        'truck': 421,
        'awning-tricycle': 307,
        'bus': 208,
    }
