"""What the metric reads, returns, writes and refuses; tiles and whole scenes."""

import pickle
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes
from torch.utils.data import DataLoader

from aerialkd.errors import AnnotationError, BoxTypeError, ConfigError
from aerialkd.evaluation import RotatedMetric
from aerialkd.evaluation.task1 import read_task1
from aerialkd.registry import DATASETS, METRICS
from aerialkd.structures.corners import corners
from tests.evaluation import rotated_sets
from tests.trained import META_KEYS, dota_config, write_turned_objects

CLASSES = ('plane', 'ship', 'harbor')
PLANE, SHIP = (30.0, 30.0, 20.0, 8.0, 0.5), (70.0, 60.0, 30.0, 10.0, -1.0)


def sample(gt=(), found=(), difficult=(), name='P0001', shape=(100, 120), quads=True):
    """Objects are (box, label), detections (box, label, score)."""
    instances = [
        dict(
            bbox=corners(np.array([box]))[0].ravel().tolist() if quads else list(box),
            bbox_label=label,
            ignore_flag=int(index in difficult),
        )
        for index, (box, label) in enumerate(gt)
    ]
    return dict(
        img_id=name,
        img_path=f'images/{name}.png',
        ori_shape=shape,
        instances=instances,
        pred_instances=dict(
            bboxes=torch.tensor([f[0] for f in found]).reshape(-1, 5),
            labels=torch.tensor([f[1] for f in found], dtype=torch.long),
            scores=torch.tensor([f[2] for f in found], dtype=torch.float32),
        ),
    )


def evaluate(*samples, classes=CLASSES, **options):
    metric = METRICS.build({'type': 'aerialkd.RotatedMetric', **options})
    metric.dataset_meta = {'classes': classes}
    for item in samples:
        metric.process({}, [item])
    metric.results = pickle.loads(pickle.dumps(metric.results))  # between ranks
    return metric.evaluate(len(samples))


def example(**options):
    """Plane found twice, a false ship first; a difficult ship found."""
    gt = [(PLANE, 0), (SHIP, 1), ((20.0, 80.0, 20.0, 8.0, 0.0), 1)]
    found = [
        (PLANE, 0, 0.9),
        (PLANE, 0, 0.8),
        ((100.0, 20.0, 9.0, 9.0, 0.0), 1, 0.7),
        (SHIP, 1, 0.6),
        (gt[2][0], 1, 0.95),
    ]
    return sample(gt, found, difficult=[2], **options)


def test_worked_example():
    result = evaluate(example(), classwise=True)
    means = {'mAP50', 'AP75', 'mAP', 'mAP50_11', 'AP75_11', 'mAP_11'}
    of_class = {'AP50', 'AP75', 'AP', 'AP50_11'}
    assert set(result) == {f'rotated/{k}' for k in means} | {
        f'rotated/{name}/{k}' for name in CLASSES for k in of_class
    }
    for key in means:
        assert result[f'rotated/{key}'] == pytest.approx((1 + 1 / 2) / 2)
    for key in of_class:
        assert result[f'rotated/plane/{key}'] == 1
        assert result[f'rotated/ship/{key}'] == pytest.approx(1 / 2)
        assert result[f'rotated/harbor/{key}'] == -1


@pytest.mark.parametrize('seed', range(2))
def test_agrees_with_plain_loops(seed):
    images = rotated_sets.random_set(seed, images=12)
    metric = RotatedMetric(classwise=True)
    metric.dataset_meta = {'classes': rotated_sets.CLASSES}
    for index, image in enumerate(images):
        instances = [
            dict(bbox=b, bbox_label=k, ignore_flag=int(f))
            for b, k, f in zip(
                image.gt_boxes, image.gt_labels, image.gt_ignored, strict=True
            )
        ]
        boxes = torch.from_numpy(image.boxes)
        found = dict(bboxes=boxes, labels=image.labels, scores=image.scores)
        item = dict(img_id=index, ori_shape=(300, 300), instances=instances)
        metric.process(None, [item | dict(pred_instances=found)])
    result = metric.evaluate(len(images))
    oracles = [rotated_sets.Oracle(images, label) for label in range(3)]
    for name, oracle in zip(rotated_sets.CLASSES, oracles, strict=False):
        assert result[f'rotated/{name}/AP50'] == pytest.approx(oracle.area(0.5))
        assert result[f'rotated/{name}/AP75'] == pytest.approx(oracle.area(0.75))
        assert result[f'rotated/{name}/AP50_11'] == pytest.approx(oracle.eleven(0.5))
        areas = [oracle.area(t) for t in rotated_sets.THRESHOLDS]
        assert result[f'rotated/{name}/AP'] == pytest.approx(np.mean(areas))
    points = [[o.eleven(t) for t in rotated_sets.THRESHOLDS] for o in oracles]
    assert result['rotated/mAP_11'] == pytest.approx(np.mean(points))
    assert result['rotated/AP75_11'] == pytest.approx(np.mean(points, axis=0)[5])


def test_table_of_classes(monkeypatch):
    logger = mock.Mock()
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    evaluate(example(), classwise=True)
    (text,) = [call.args[0] for call in logger.info.call_args_list]
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in text.splitlines()
        if '|' in line
    ]
    assert rows[0][:4] == ['class', 'objects', 'detections', 'recall at .5']
    assert rows[0][4:] == ['AP50', 'AP50_11', 'AP75', 'AP']
    assert rows[1] == ['plane', '1', '2', *['1.000'] * 5]
    assert rows[2] == ['ship', '1', '3', '1.000', *['0.500'] * 4]
    assert rows[3] == ['harbor', '0', '0', *'-----']
    evaluate(example())
    assert logger.info.call_count == 1


def test_prefix():
    assert 'dota/mAP50' in evaluate(example(), prefix='dota')


def test_five_and_eight_numbers_are_the_same():
    expected = evaluate(example())
    assert evaluate(example(quads=False)) == pytest.approx(expected)
    item = example()
    boxes = item['pred_instances']['bboxes']
    item['pred_instances']['bboxes'] = torch.from_numpy(corners(boxes)).reshape(-1, 8)
    assert evaluate(item) == pytest.approx(expected)
    item['pred_instances']['bboxes'] = RotatedBoxes(boxes)
    assert evaluate(item) == expected


def test_ground_truth_keeps_its_corners():
    # Half of a rectangle: its smallest rectangle would be found with IoU 1.
    half = dict(bbox=[20, 20, 60, 20, 60, 40, 20, 20], bbox_label=0, ignore_flag=0)
    item = sample(found=[((40.0, 30.0, 40.0, 20.0, 0.0), 0, 0.5)])
    item['instances'] = [half]
    result = evaluate(item, classwise=True)
    assert result['rotated/plane/AP50'] == 1
    assert result['rotated/plane/AP'] == pytest.approx(0.1)


@pytest.mark.parametrize('difficult', [0, 1])
def test_of_an_object_annotated_twice_the_one_that_counts_is_found(difficult):
    twice = sample([(PLANE, 0), (PLANE, 0)], [(PLANE, 0, 0.5)], difficult=[difficult])
    assert evaluate(twice)['rotated/mAP'] == 1


def as_data_sample(item, scale=1.0):
    """The same as mmrotate hands it over when ``instances`` is not asked for."""
    result = DetDataSample(
        metainfo={k: item[k] for k in ('img_id', 'img_path', 'ori_shape')}
    )
    result.pred_instances = InstanceData(**item['pred_instances'])
    for name, flag in (('gt_instances', 0), ('ignored_instances', 1)):
        chosen = [i for i in item['instances'] if i['ignore_flag'] == flag]
        boxes = torch.tensor([i['bbox'] for i in chosen]).reshape(-1, 5)
        boxes[:, :4] *= scale
        labels = torch.tensor([i['bbox_label'] for i in chosen], dtype=torch.long)
        setattr(result, name, InstanceData(bboxes=RotatedBoxes(boxes), labels=labels))
    return result


def test_ground_truth_from_the_sample():
    item = example(quads=False)
    expected = evaluate(item)
    assert evaluate(as_data_sample(item)) == pytest.approx(expected)
    assert evaluate(as_data_sample(item).to_dict()) == pytest.approx(expected)


def test_ground_truth_in_other_pixels_is_noticed():
    item = example(quads=False)
    with pytest.raises(ConfigError, match=r"box from .* add 'instances' to the meta"):
        evaluate(as_data_sample(item, scale=2))
    item.pop('instances')
    with pytest.raises(ConfigError, match='got samples without ground truth'):
        evaluate(item)


def test_objects_that_reach_over_a_tile_are_none_of_other_pixels():
    over = (118.0, 50.0, 60.0, 20.0, 0.0)
    item = as_data_sample(sample([(over, 0)], [(over, 0, 0.5)], quads=False))
    assert evaluate(item)['rotated/mAP'] == 1


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ('label', ConfigError, r'label 3, expected 0\.\.2; set num_classes'),
        ('box', ConfigError, 'not finite in P0001, expected finite boxes'),
        ('score', ConfigError, 'not finite in P0001, expected finite boxes'),
        ('horizontal', BoxTypeError, 'detections of 4 numbers in P0001, expected 5'),
        ('gt', AnnotationError, 'got the box .*nan.*, expected finite numbers'),
        ('gt_horizontal', BoxTypeError, 'boxes of 4 numbers, expected 5 or 8'),
        ('gt_mixed', BoxTypeError, 'boxes of 5 and 8 numbers, expected 5 or 8'),
    ],
)
def test_what_cannot_be_measured(change, error, message):
    item = example()
    found, truth = item['pred_instances'], item['instances']
    if change == 'label':
        found['labels'][1] = 3
    elif change == 'box':
        found['bboxes'][1, 4] = float('nan')
    elif change == 'score':
        found['scores'][1] = float('nan')
    elif change == 'horizontal':
        found['bboxes'] = found['bboxes'][:, :4]
    elif change == 'gt':
        truth[0]['bbox'][3] = float('nan')
    elif change == 'gt_horizontal':
        for instance in truth:
            instance['bbox'] = instance['bbox'][:4]
    else:
        truth[0]['bbox'] = list(PLANE)
    with pytest.raises(error, match=message):
        evaluate(item)


def test_class_names_are_needed():
    with pytest.raises(ConfigError, match='RotatedMetric: got no class names'):
        RotatedMetric().process({}, [example()])


def test_files_alone_need_no_ground_truth(tmp_path):
    item = example()
    del item['instances']
    prefix = str(tmp_path / 'out' / 'run')
    assert evaluate(item, outfile_prefix=prefix, format_only=True) == {}
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['run_tiles']
    (read,) = read_task1(f'{prefix}_tiles', CLASSES)
    assert read.name == 'P0001'
    assert read.labels.tolist() == [0, 0, 1, 1, 1]
    assert np.allclose(read.boxes[0], corners(np.array([PLANE])).ravel(), atol=1e-4)
    assert evaluate(example(), outfile_prefix=prefix) == evaluate(example())


@pytest.fixture
def scenes(tmp_path):
    """Two scenes of 160 x 100 and 100 x 100 pixels, and one without tiles."""
    root = tmp_path / 'val'
    for folder in ('images', 'labelTxt'):
        (root / folder).mkdir(parents=True)
    objects = dict(
        P0001=[('plane', (80, 50, 30, 10, 0.4), 0), ('ship', (20, 20, 20, 8, 1), 1)],
        P0002=[('ship', (50, 50, 40, 12, -0.3), 0)],
        P0003=[('plane', (50, 50, 40, 12, -0.3), 0)],
    )
    for name, rows in objects.items():
        width = 160 if name == 'P0001' else 100
        image = np.zeros((100, width, 3), np.uint8)
        cv2.imwrite(str(root / 'images' / f'{name}.png'), image)
        lines = [
            ' '.join(f'{v:.4f}' for v in corners(np.array([box], float)).ravel())
            + f' {label} {difficult}\n'
            for label, box, difficult in rows
        ]
        (root / 'labelTxt' / f'{name}.txt').write_text(''.join(lines))
    return dict(img_path=str(root / 'images'), ann_path=str(root / 'labelTxt'))


def tiles():
    """The plane of the first scene is in both of its tiles, whole and found twice."""
    plane = (80.0, 50.0, 30.0, 10.0, 0.4)
    moved = (20.0, *plane[1:])  # 60 pixels to the left
    ship, difficult = (50.0, 50.0, 40.0, 12.0, -0.3), (20.0, 20.0, 20.0, 8.0, 1.0)
    return [
        sample(
            [(plane, 0), (difficult, 1)],
            [(plane, 0, 0.9), (difficult, 1, 0.95)],
            difficult=[1],
            name='P0001__100__0___0',
            shape=(100, 100),
        ),
        sample(
            [(moved, 0)], [(moved, 0, 0.8)], name='P0001__100__60___0', shape=(100, 100)
        ),
        sample(
            [(ship, 1)],
            [((50.0, 50.0, 40.0, 8.0, -0.3), 1, 0.7), ((9.0, 9, 9, 9, 0), 1, 0.1)],
            name='P0002__100__0___0',
            shape=(100, 100),
        ),
    ]


def test_scenes(scenes, tmp_path, caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    prefix = str(tmp_path / 'run')
    result = evaluate(
        *tiles(), merging=dict(scenes=scenes), outfile_prefix=prefix, classwise=True
    )
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    # Of the scenes' plane the second detection is a duplicate that NMS took away.
    for kind in ('', 'scenes/'):
        assert result[f'rotated/{kind}plane/AP'] == 1
        assert result[f'rotated/{kind}ship/AP50'] == 1
        assert result[f'rotated/{kind}ship/AP75'] == 0  # IoU 2/3
        assert result[f'rotated/{kind}mAP'] == pytest.approx((1 + 0.4) / 2)
        assert result[f'rotated/{kind}mAP_11'] == pytest.approx((1 + 0.4) / 2)
    first, second = read_task1(f'{prefix}_scenes', CLASSES)
    assert (first.name, first.scores.tolist()) == ('P0001', pytest.approx([0.9, 0.95]))
    assert second.name == 'P0002'
    assert len(read_task1(f'{prefix}_tiles', CLASSES)) == 3
    assert '1 of 3 scenes' in caplog.text
    assert 'are not measured: P0003.' in caplog.text
    assert 'not covered' not in caplog.text


def test_without_duplicates_taken_away_the_scene_has_a_false_detection(scenes):
    merging = dict(scenes=scenes, iou_threshold=1)
    assert (
        evaluate(*tiles(), merging=merging, classwise=True)['rotated/scenes/mAP50'] == 1
    )
    items = tiles()
    items[1]['pred_instances']['scores'][0] = 0.99  # now the better one
    items[1]['pred_instances']['bboxes'][0, 0] += 16  # IoU below .5
    kept = evaluate(*items, merging=merging, classwise=True)
    taken = evaluate(*items, merging=dict(scenes=scenes), classwise=True)
    assert kept['rotated/scenes/plane/AP50'] == 0.5
    assert taken['rotated/scenes/plane/AP50'] == 0


@pytest.mark.parametrize(('width', 'covered'), [(160, True), (159, False)])
def test_one_wide_tile_covers_its_scene(scenes, caplog, width, covered):
    item = sample(name='P0001__160__0___0', shape=(100, width))
    MMLogger.get_current_instance().addHandler(caplog.handler)
    evaluate(item, merging=dict(scenes=scenes))
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert ('not covered' not in caplog.text) is covered


def test_a_scene_with_missing_tiles_counts_whole(scenes, caplog):
    items = tiles()[1:]
    items[0]['instances'], plane = [], items[0]['pred_instances']
    for name in plane:
        plane[name] = plane[name][:0]
    MMLogger.get_current_instance().addHandler(caplog.handler)
    result = evaluate(*items, merging=dict(scenes=scenes), classwise=True)
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert result['rotated/plane/AP50'] == -1
    assert result['rotated/scenes/plane/AP50'] == 0
    assert '1 of 2 scenes are not covered' in caplog.text
    assert 'missed: P0001.' in caplog.text


def test_classes_in_another_order(scenes):
    items = tiles()
    for item in items:
        for instance in item['instances']:
            instance['bbox_label'] = 1 - instance['bbox_label']
        item['pred_instances']['labels'] = 1 - item['pred_instances']['labels']
    result = evaluate(*items, classes=('ship', 'plane'), merging=dict(scenes=scenes))
    assert result['rotated/scenes/mAP'] == pytest.approx((1 + 0.4) / 2)


def test_merging_without_scenes_writes_files(tmp_path):
    items = tiles()
    for item in items:
        del item['instances']
    prefix = str(tmp_path / 'run')
    options = dict(merging={}, outfile_prefix=prefix)
    assert evaluate(*items, format_only=True, **options) == {}
    assert len(read_task1(f'{prefix}_scenes', CLASSES)) == 2
    assert not any('scenes' in key for key in evaluate(*tiles(), **options))


def test_tiles_of_other_scenes(scenes):
    item = sample(name='P0009__100__0___0')
    with pytest.raises(ConfigError, match=r'1 scenes that .* \(P0009\), expected all'):
        evaluate(item, merging=dict(scenes=scenes))
    metric = RotatedMetric(merging=dict(scenes=scenes))
    metric.dataset_meta = {'classes': CLASSES}
    with pytest.raises(AnnotationError, match='P0009: not the name of a tile'):
        metric.process({}, [sample(name='P0009')])  # not after the last image


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(format_only=True), r'RotatedMetric\.format_only: got no outfile_prefix'),
        (dict(merging={}), 'got neither scenes nor outfile_prefix'),
        (
            dict(merging=dict(iou=0.1)),
            r'merging: got the keys \[.iou.\], expected iou_thr',
        ),
        (dict(merging=dict(iou_threshold=2)), 'iou_threshold: got 2, expected 0 to 1'),
        (dict(merging=dict(iou_threshold='a')), "got 'a', expected 0 to 1"),
        (
            dict(merging=dict(scenes=dict(img_path='a'))),
            'expected ann_path, img_path, version with ann_path and img_path',
        ),
        (
            dict(merging=dict(scenes=dict(img_path='no', ann_path='.'))),
            'img_path: got no, expected a folder',
        ),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ConfigError, match=message):
        RotatedMetric(**options)


@pytest.mark.parametrize('meta', ['instances', 'flip'])
def test_with_data_set_and_resizing_pipeline(tmp_path, meta):
    """Predictions equal to the ground truth score 1, whichever way it arrives."""
    cfg = dota_config(Config(), write_turned_objects(tmp_path / 'dota'))
    dataset_cfg = cfg.test_dataloader.dataset
    load = [dict(type='mmdet.LoadImageFromFile'), *dataset_cfg.pipeline[1:4]]
    load[1] = dict(type='mmdet.Resize', scale=(128, 96), keep_ratio=False)
    order = [0, 1, 2, 3] if meta == 'flip' else [0, 2, 3, 1]
    pack = dict(type='mmdet.PackDetInputs', meta_keys=(*META_KEYS, meta))
    dataset_cfg.pipeline = [load[i] for i in order] + [pack]
    dataset = DATASETS.build(dataset_cfg)
    evaluator = Evaluator([METRICS.build({'type': 'aerialkd.RotatedMetric'})])
    evaluator.dataset_meta = dataset.metainfo
    for index, batch in enumerate(
        DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate)
    ):
        for offset, item in enumerate(batch['data_samples']):
            truth = dataset.get_data_info(2 * index + offset)['instances']
            counted = [i for i in truth if not i['ignore_flag']]
            item.pred_instances = InstanceData(
                bboxes=torch.tensor([i['bbox'] for i in counted]),
                labels=torch.tensor([i['bbox_label'] for i in counted]),
                scores=torch.linspace(0.5, 1, len(counted)),
            )
        evaluator.process(data_samples=batch['data_samples'], data_batch=batch)
    result = evaluator.evaluate(len(dataset))
    assert result['rotated/mAP50'] == result['rotated/AP75'] == 1
    assert Path(dataset_cfg.data_root).is_dir()
