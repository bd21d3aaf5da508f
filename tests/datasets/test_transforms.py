"""What KeepBackground keeps of an image, and where it may stand."""

import numpy as np
import pytest
import shapely
from mmcv.transforms import Compose

from aerialkd.datasets import KeepBackground
from aerialkd.errors import ConfigError
from aerialkd.registry import DATASETS, TRANSFORMS
from aerialkd.structures.corners import corners
from tests.miniatures import write_dota, write_visdrone

SHAPE = (48, 64)


def instance(bbox, ignore_flag=0):
    return dict(bbox=bbox, bbox_label=0, ignore_flag=ignore_flag)


def keep(instances, image=None, **options):
    image = np.zeros((*SHAPE, 3), np.uint8) if image is None else image
    step = TRANSFORMS.build(dict(type='aerialkd.KeepBackground', **options))
    return step(dict(img=image, instances=instances))['img']


def kept_of(*boxes, k):
    """(h, w) bool."""
    return (keep([instance(b) for b in boxes], k=k, fill=(1, 1, 1)) == 0).all(axis=2)


def test_worked_example():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (10, 12, 3), np.uint8)
    before = image.copy()
    done = keep([instance([4, 4, 6, 7])], image, k=2)
    # Sides 2 and 3 become 4 and 6 about the centre (5, 5.5).
    expected = np.empty_like(image)
    expected[:] = (104, 116, 124)  # BGR
    # Rows from 2.5 to 8.5: the centre of row 2 is on the border, that of 8 too.
    expected[2:8, 3:7] = image[2:8, 3:7]
    assert np.array_equal(done, expected)
    assert np.array_equal(image, before)
    assert done.dtype == np.uint8


def test_one_keeps_the_boxes():
    kept = kept_of([8, 5, 20, 9], [40.4, 30.4, 50.6, 40.6], k=1)
    assert kept[5:9, 8:20].all()
    assert kept[30:41, 40:51].all()
    assert kept.sum() == 4 * 12 + 11 * 11


def test_it_grows_with_k_up_to_the_whole_image():
    box, other = [8, 6, 20, 12], [50, 30, 60, 47]
    smaller = np.zeros(SHAPE, bool)
    for k in (0.5, 1, 2, 3, 5):
        kept = kept_of(box, other, k=k)
        assert (kept | ~smaller).all()
        assert kept.sum() > smaller.sum()
        smaller = kept
    assert kept_of(box, k=50).all()


@pytest.mark.parametrize(
    'box',
    [
        [30.0, 20.0, 22.0, 9.0, 0.6],  # centre, size, angle
        [60.0, 40.0, 30.0, 12.0, -1.1],  # reaches out of the image
        [8.3, 9.1, 40.2, 4.7, 33.0, 44.8, 12.6, 30.5],  # any quadrilateral
        [-40.0, -40.0, -20.0, -20.0],  # far outside
    ],
)
@pytest.mark.parametrize('k', [1, 1.7])
def test_pixel_centres_in_the_enlarged_polygon(box, k):
    (points,) = corners(np.array([box]))
    grown = shapely.affinity.scale(
        shapely.Polygon(points), k, k, origin=tuple(points.mean(axis=0))
    )
    y, x = np.indices(SHAPE) + 0.5
    assert np.array_equal(kept_of(box, k=k), shapely.contains_xy(grown, x, y))


@pytest.mark.parametrize('instances', [[], [instance([8, 5, 20, 9], ignore_flag=1)]])
def test_without_objects_everything_is_blank(instances):
    image = np.full((*SHAPE, 3), 7, np.uint8)
    assert (keep(instances, image, k=5, fill=(1, 2, 3)) == (1, 2, 3)).all()


def test_the_default_is_nothing_after_normalisation():
    image = np.full((*SHAPE, 3), 7, np.float32)
    blank = keep([], image, k=1).astype(np.float64)
    mean = np.array([123.675, 116.28, 103.53])[::-1]
    assert np.abs(blank - mean).max() <= 0.5
    assert blank.shape == image.shape


@pytest.mark.parametrize('kind', ['visdrone', 'dota'])
def test_in_the_pipeline_of_a_data_set(tmp_path, kind):
    if kind == 'visdrone':
        line = '8,5,12,4,1,4,0,0'
        root, name = write_visdrone(tmp_path, {'a.png': [line]}), 'VisDroneDataset'
    else:
        line = '8 5 20 5 20 9 8 9 ship 0'
        root, name = write_dota(tmp_path, {'a.png': [line]}), 'DOTADataset'
    pipeline = [
        dict(type='mmdet.LoadImageFromFile'),
        dict(type='aerialkd.KeepBackground', k=1, fill=(255, 0, 255)),
        dict(type='mmdet.Resize', scale=(32, 24), keep_ratio=True),
    ]
    dataset = DATASETS.build(
        dict(
            type=f'aerialkd.{name}',
            data_root=str(root),
            data_prefix=dict(
                img_path='images',
                ann_path='annotations' if kind == 'visdrone' else 'labelTxt',
            ),
            test_mode=True,
            pipeline=pipeline,
        )
    )
    blank = (dataset[0]['img'] == (255, 0, 255)).all(axis=2)
    assert blank.shape == (24, 32)
    assert not blank[3:4, 4:10].any()
    assert blank.sum() >= 24 * 32 - 3 * 7


def test_where_it_may_not_stand():
    image = np.zeros((*SHAPE, 3), np.uint8)
    step = KeepBackground(k=1)
    with pytest.raises(ConfigError, match=r'no instances, .*behind LoadImageFromFile'):
        step(dict(img=image))
    with pytest.raises(ConfigError, match='no img, '):
        step(dict(instances=[]))
    for before in (
        dict(type='mmdet.Resize', scale=(20, 20)),
        dict(type='mmdet.RandomFlip', prob=0.0),
    ):
        pipeline = Compose([TRANSFORMS.build(before), step])
        with pytest.raises(ConfigError, match='an image that was altered'):
            pipeline(dict(img=image, instances=[]))


@pytest.mark.parametrize('k', [0, -1])
def test_k_is_positive(k):
    with pytest.raises(ConfigError, match=rf'KeepBackground.k: got {k}, '):
        KeepBackground(k=k)
