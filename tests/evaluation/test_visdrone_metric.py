import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader

from aerialkd.errors import ConfigError
from aerialkd.evaluation import VisDroneMetric
from aerialkd.registry import DATASETS, METRICS
from tests.miniatures import write_visdrone

CLASSES = ('pedestrian', 'people', 'bicycle')
Box = tuple[float, float, float, float]


def sample(
    gt: list[tuple[Box, int]] = (),
    detections: list[tuple[Box, int, float]] = (),
    regions: list[Box] = (),
    img_id: int = 0,
    shape: tuple[int, int] = (600, 800),
    region_label: int = 0,
) -> dict[str, Any]:
    instances = [{'bbox': list(b), 'bbox_label': k, 'ignore_flag': 0} for b, k in gt]
    instances += [
        {'bbox': list(b), 'bbox_label': region_label, 'ignore_flag': 1} for b in regions
    ]
    return {
        'img_id': img_id,
        'img_path': f'images/photo_{img_id}.jpg',
        'ori_shape': shape,
        'instances': instances,
        'pred_instances': {
            'bboxes': torch.tensor([d[0] for d in detections]).reshape(-1, 4),
            'labels': torch.tensor([d[1] for d in detections], dtype=torch.long),
            'scores': torch.tensor([d[2] for d in detections], dtype=torch.float32),
        },
    }


def evaluate(*samples: Any, classes: tuple[str, ...] = CLASSES, **options: Any) -> dict:
    metric = METRICS.build({'type': 'aerialkd.VisDroneMetric', **options})
    metric.dataset_meta = {'classes': classes}
    for data_sample in samples:
        metric.process({}, [data_sample])
    return metric.evaluate(len(samples))


def grid(number: int, size: float = 20) -> list[Box]:
    """Boxes side by side, 30 a row."""
    return [
        (x, y, x + size, y + size)
        for x, y in ((i % 30 * (size + 2), i // 30 * (size + 2)) for i in range(number))
    ]


def test_worked_example() -> None:
    a, b, _, wrong = grid(4)
    result = evaluate(
        sample([(a, 0), (b, 0)], [(a, 0, 0.9), (wrong, 0, 0.8), (b, 0, 0.7)])
    )
    # Precision 1 up to recall 1/2 (51 of COCO's 101 points), then 2/3.
    ap = (51 + 50 * 2 / 3) / 101
    for key in ('AP', 'AP50', 'AP75', 'AP_S'):
        assert result[f'visdrone/{key}_at_100'] == pytest.approx(ap)
        assert result[f'visdrone/{key}_at_500'] == pytest.approx(ap)
    assert result['visdrone/AR_at_100'] == 1
    assert result['visdrone/AP_M_at_100'] == result['visdrone/AP_L_at_500'] == -1
    assert len(result) == 20


def test_thresholds() -> None:
    # IoU 0.7: right at .5 .. .7, five of ten thresholds.
    result = evaluate(sample([((0, 0, 100, 100), 0)], [((0, 0, 100, 70.1), 0, 0.5)]))
    assert result['visdrone/AP_at_100'] == pytest.approx(0.5)
    assert result['visdrone/AR_at_100'] == pytest.approx(0.5)
    assert result['visdrone/AP50_at_100'] == 1
    assert result['visdrone/AP75_at_100'] == 0


def test_areas_are_of_the_original_image() -> None:
    small, medium, large = (0, 0, 31, 32), (100, 0, 133, 32), (200, 0, 297, 97)
    truth = [(small, 0), (medium, 0), (large, 0)]
    hits = evaluate(sample(truth, [(medium, 0, 0.9)]))
    assert [hits[f'visdrone/AP_{s}_at_100'] for s in 'SML'] == [0, 1, 0]
    assert [hits[f'visdrone/AR_{s}_at_100'] for s in 'SML'] == [0, 1, 0]


def average_precision(
    samples: list[dict], label: int, max_dets: int, iou: float
) -> float:
    """COCO's AP of one class at one IoU, in the plainest possible way."""
    rows, total = [], 0
    for item in samples:
        pred = item['pred_instances']
        order = np.argsort(-pred['scores'].numpy(), kind='stable')[:max_dets]
        free = [i['bbox'] for i in item['instances'] if i['bbox_label'] == label]
        total += len(free)
        for index in order:
            if pred['labels'][index] != label:
                continue
            box = pred['bboxes'][index].double().tolist()
            overlaps = [overlap(box, other) for other in free]
            hit = bool(overlaps) and max(overlaps) >= iou
            if hit:
                free.pop(int(np.argmax(overlaps)))
            rows.append((float(pred['scores'][index]), hit))
    rows.sort(key=lambda row: -row[0])
    hits = np.cumsum([hit for _, hit in rows])
    precision, recall = hits / np.arange(1, len(rows) + 1), hits / total
    points = np.linspace(0, 1, 101)
    return float(np.mean([max(precision[recall >= p], default=0) for p in points]))


def recall_of_size(samples: list[dict], label: int, low: float, high: float) -> float:
    """COCO's recall of one class within areas, over .5:.05:.95; nan without objects."""
    recalls = []
    for iou in np.arange(50, 100, 5) / 100:
        hits, total = 0, 0
        for item in samples:
            pred = item['pred_instances']
            truth = [i['bbox'] for i in item['instances'] if i['bbox_label'] == label]
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in truth]
            free = [b for b, a in zip(truth, areas, strict=True) if low <= a < high]
            total += len(free)
            for index in np.argsort(-pred['scores'].numpy(), kind='stable'):
                if pred['labels'][index] != label or not free:
                    continue
                box = pred['bboxes'][index].double().tolist()
                overlaps = [overlap(box, other) for other in free]
                if max(overlaps) >= iou:
                    free.pop(int(np.argmax(overlaps)))
                    hits += 1
        recalls.append(hits / total if total else np.nan)
    return float(np.mean(recalls))


def test_recall_by_size_agrees_with_a_plain_computation() -> None:
    rng = np.random.default_rng(0)
    samples = []
    for img_id in range(5):
        sizes = rng.uniform(8, 130, (20, 2))
        corners = np.stack(np.divmod(np.arange(20), 5), 1) * 140.0
        truth = [
            ((*corner, *(corner + size)), int(rng.integers(2)))
            for corner, size in zip(corners, sizes, strict=True)
        ]
        found = [
            (tuple(np.array(box) + rng.normal(0, 4, 4)), label, rng.random())
            for box, label in truth
            if rng.random() < 0.8
        ]
        samples.append(sample(truth, found, img_id=img_id, shape=(700, 700)))
    result = evaluate(*samples)
    sides = (0, 32, 96, 1e5)
    recalls = [
        np.mean([recall_of_size(samples, k, low**2, high**2) for k in range(2)])
        for low, high in pairwise(sides)
    ]
    measured = [result[f'visdrone/AR_{s}_at_500'] for s in 'SML']
    assert measured == pytest.approx(recalls)
    assert 0.1 < min(recalls) < max(recalls) < 0.9
    assert len(set(recalls)) == 3


def overlap(a: list, b: list) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize('seed', range(3))
def test_agrees_with_a_plain_computation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = []
    for img_id in range(6):
        truth = [(box, int(rng.integers(3))) for box in grid(40)]
        found = [
            (tuple(np.array(box) + rng.normal(0, 2, 4)), label, rng.random())
            for box, label in truth
            if rng.random() < 0.7
        ]
        found += [(box, int(rng.integers(3)), rng.random() * 0.8) for box in grid(25)]
        samples.append(sample(truth, found, img_id=img_id))
    result = evaluate(*samples, max_dets=(15, 500), classwise=True)
    for max_dets in (15, 500):
        aps = [average_precision(samples, label, max_dets, 0.5) for label in range(3)]
        for name, ap in zip(CLASSES, aps, strict=True):
            assert result[f'visdrone/{name}/AP50_at_{max_dets}'] == pytest.approx(ap)
        assert result[f'visdrone/AP50_at_{max_dets}'] == pytest.approx(np.mean(aps))
        assert 0.05 < np.mean(aps) < 0.95
    assert result['visdrone/AP50_at_15'] < result['visdrone/AP50_at_500']


def test_limit_is_over_all_classes_of_an_image() -> None:
    boxes = grid(160)
    truth = [(box, i % 2) for i, box in enumerate(boxes)]
    found = [(box, label, 1 - i / 1000) for i, (box, label) in enumerate(truth)]
    result = evaluate(sample(truth, found))
    # 50 of the 80 boxes of each class; a limit a class would find all 80.
    assert result['visdrone/AR_at_100'] == pytest.approx(50 / 80)
    assert result['visdrone/AP_at_100'] == pytest.approx(63 / 101)
    assert result['visdrone/AR_at_500'] == result['visdrone/AP_at_500'] == 1


def test_more_than_a_hundred_of_one_class() -> None:
    truth = [(box, 0) for box in grid(160)]
    result = evaluate(sample(truth, [(*hit, 0.5) for hit in truth]))
    assert result['visdrone/AR_at_100'] == pytest.approx(100 / 160)
    assert result['visdrone/AP_at_100'] == pytest.approx(63 / 101)
    assert result['visdrone/AR_at_500'] == result['visdrone/AP_at_500'] == 1


def test_images_do_not_share_the_limit() -> None:
    samples = [
        sample([(b, 0) for b in grid(90)], [(b, 0, 0.5) for b in grid(90)], img_id=i)
        for i in range(3)
    ]
    assert evaluate(*samples)['visdrone/AR_at_100'] == 1


def test_what_lies_in_ignored_regions_takes_no_part() -> None:
    a, b, c, d = grid(4)
    region = (b[0], 0, c[2], 100)
    detections = [(a, 0, 0.5), (b, 0, 0.9), (c, 1, 0.8), (d, 0, 0.1)]
    with_region = evaluate(sample([(a, 0), (c, 0)], detections, [region]))
    # c is no missed box, b no false alarm and none of the one best detection.
    without = evaluate(sample([(a, 0)], [(a, 0, 0.5), (d, 0, 0.1)]))
    assert with_region == without
    assert with_region['visdrone/AP_at_100'] == 1
    best = evaluate(sample([(a, 0)], detections, [region]), max_dets=(1,))
    assert best['visdrone/AR_at_1'] == 1


def test_half_in_a_region_is_in_it() -> None:
    box, truth = (10.0, 10.0, 30.0, 30.0), [((400.0, 10.0, 420.0, 30.0), 0)]
    hit = (*truth[0], 0.5)
    for right, ap in ((20, 1.0), (18, 0.5)):
        result = evaluate(sample(truth, [hit, (box, 0, 0.9)], [(0, 0, right, 60)]))
        assert result['visdrone/AP50_at_100'] == pytest.approx(ap)


def test_crowds_instead_of_regions() -> None:
    a, b, _, d = grid(4)
    crowd = (b[0], 0, b[2] + 60, 100)
    detections = [(a, 0, 0.5), (b, 0, 0.9), (b, 1, 0.8)]
    samples = sample([(a, 0), (d, 1)], detections, [crowd])
    result = evaluate(samples, ignored_regions=False, classwise=True)
    assert result['visdrone/pedestrian/AP50_at_100'] == 1, 'a crowd of this class'
    assert result['visdrone/people/AP50_at_100'] == 0, 'no crowd of that class'


@pytest.mark.parametrize(
    ('gt', 'found', 'ap', 'ar'),
    [
        ([(grid(1)[0], 0)], [], 0, 0),
        ([], [(grid(1)[0], 0, 0.5)], -1, -1),
        ([], [], -1, -1),
    ],
)
def test_nothing_found_or_nothing_there(
    gt: list, found: list, ap: int, ar: int
) -> None:
    result = evaluate(sample(gt, found))
    assert result['visdrone/AP_at_100'] == result['visdrone/AP50_at_500'] == ap
    assert result['visdrone/AR_at_100'] == ar


def test_classes_without_ground_truth_are_left_out(monkeypatch) -> None:
    logger = mock.Mock()
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    (box,) = grid(1)
    result = evaluate(
        sample([(box, 0)], [(box, 0, 0.5), (box, 2, 0.9)]), classwise=True
    )
    assert result['visdrone/AP_at_100'] == 1
    assert result['visdrone/pedestrian/AP50_at_500'] == 1
    assert result['visdrone/bicycle/AP_at_100'] == -1
    tables = [call.args[0] for call in logger.info.call_args_list]
    assert ['AP50_at_100' in table for table in tables] == [True, False]
    assert re.search(r'bicycle +\| - +\| - ', tables[0])


def test_prefix() -> None:
    assert 'coco/AP_at_100' in evaluate(sample(), prefix='coco')


def as_data_sample(item: dict, scale: float = 1) -> DetDataSample:
    """The same as mmdet hands it over when ``instances`` is not asked for."""
    result = DetDataSample(
        metainfo={
            'img_id': item['img_id'],
            'ori_shape': item['ori_shape'],
            'scale_factor': (scale, scale),
        }
    )
    result.pred_instances = InstanceData(**item['pred_instances'])
    for name, flag in (('gt_instances', 0), ('ignored_instances', 1)):
        chosen = [i for i in item['instances'] if i['ignore_flag'] == flag]
        boxes = torch.tensor([i['bbox'] for i in chosen]).reshape(-1, 4) * scale
        labels = torch.tensor([i['bbox_label'] for i in chosen], dtype=torch.long)
        setattr(result, name, InstanceData(bboxes=boxes, labels=labels))
    return result


def test_ground_truth_from_the_sample() -> None:
    a, b, c = grid(3)
    item = sample([(a, 0), (b, 1)], [(a, 0, 0.9), (c, 1, 0.8), (b, 1, 0.3)], [c])
    expected = evaluate(item)
    assert evaluate(as_data_sample(item)) == expected
    assert evaluate(as_data_sample(item).to_dict()) == expected
    assert expected['visdrone/AP_at_100'] == 1


def test_ground_truth_in_other_pixels_is_noticed() -> None:
    item = sample([((700.0, 10.0, 720.0, 30.0), 0)])
    with pytest.raises(ConfigError, match=r"add 'instances' to the meta_keys"):
        evaluate(as_data_sample(item, scale=2))
    item.pop('instances')
    with pytest.raises(
        ConfigError, match="samples without ground truth, expected 'inst"
    ):
        evaluate(item)


def test_label_that_the_data_set_does_not_have() -> None:
    with pytest.raises(ConfigError, match=r'label 3, expected 0\.\.2; set num_classes'):
        evaluate(sample([], [(grid(1)[0], 3, 0.5)]))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'max_dets': ()}, 'rising positive numbers'),
        ({'max_dets': (500, 100)}, 'rising positive numbers'),
        ({'max_dets': (0, 100)}, 'rising positive numbers'),
        ({'format_only': True}, 'got no outfile_prefix'),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VisDroneMetric(**options)


def test_class_names_are_needed() -> None:
    with pytest.raises(ConfigError, match='got no class names'):
        VisDroneMetric().process({}, [sample()])


def test_result_files(tmp_path: Path) -> None:
    a, b, c = grid(3)
    samples = [sample([], [(a, 0, 0.25), (b, 2, 0.5), (c, 1, 0.125)]), sample(img_id=7)]
    for item in samples:
        del item['instances']
    prefix = str(tmp_path / 'out' / 'run')
    result = evaluate(*samples, outfile_prefix=prefix, format_only=True, max_dets=(2,))
    assert result == {}
    lines = (tmp_path / 'out' / 'run_visdrone' / 'photo_0.txt').read_text().splitlines()
    assert lines == [
        '22.00,0.00,20.00,20.00,0.500000,3,-1,-1',
        '0.00,0.00,20.00,20.00,0.250000,1,-1,-1',
    ]
    assert (tmp_path / 'out' / 'run_visdrone' / 'photo_7.txt').read_text() == ''
    rows = json.loads((tmp_path / 'out' / 'run.bbox.json').read_text())
    assert rows[0] == {
        'image_id': 0,
        'bbox': [22, 0, 20, 20],
        'score': 0.5,
        'category_id': 3,
    }
    assert len(rows) == 2


def test_category_numbers_of_chosen_classes(tmp_path: Path) -> None:
    metric = VisDroneMetric(outfile_prefix=str(tmp_path / 'x'))
    metric.dataset_meta = {'classes': ('motor', 'car'), 'category_ids': (10, 4)}
    metric.process({}, [sample([(grid(1)[0], 1)], [(grid(1)[0], 1, 0.5)])])
    assert metric.evaluate(1)['visdrone/AP_at_500'] == 1
    assert ',4,-1,-1' in (tmp_path / 'x_visdrone' / 'photo_0.txt').read_text()


@pytest.mark.parametrize('meta', ['instances', 'flip'])
def test_with_data_set_and_resizing_pipeline(tmp_path: Path, meta: str) -> None:
    """Predictions equal to the ground truth score 1, whichever way it arrives."""
    lines = ['5,5,20,10,1,4,0,0', '30,20,8,6,1,1,0,0', '40,30,20,16,0,0,0,0']
    root = write_visdrone(tmp_path, {'a.jpg': lines, 'b.jpg': lines[:1], 'c.jpg': []})
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', meta)
    dataset = DATASETS.build(
        {
            'type': 'aerialkd.VisDroneDataset',
            'data_root': str(root),
            'test_mode': True,
            'pipeline': [
                {'type': 'mmdet.LoadImageFromFile'},
                {'type': 'mmdet.Resize', 'scale': (256, 96), 'keep_ratio': False},
                {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
                {'type': 'mmdet.PackDetInputs', 'meta_keys': keys},
            ],
        }
    )
    evaluator = Evaluator([METRICS.build({'type': 'aerialkd.VisDroneMetric'})])
    evaluator.dataset_meta = dataset.metainfo
    for batch in DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate):
        for data_sample in batch['data_samples']:
            boxes = data_sample.gt_instances.bboxes.tensor
            data_sample.pred_instances = InstanceData(
                # One more detection, in the ignored region.
                bboxes=torch.cat([boxes, torch.tensor([[42.0, 32.0, 58.0, 44.0]])])
                if len(boxes) == 2
                else boxes,
                labels=torch.cat([data_sample.gt_instances.labels, torch.tensor([0])])
                if len(boxes) == 2
                else data_sample.gt_instances.labels,
                scores=torch.linspace(0.5, 1, 3 if len(boxes) == 2 else len(boxes)),
            )
        evaluator.process(data_samples=batch['data_samples'], data_batch=batch)
    result = evaluator.evaluate(len(dataset))
    assert result['visdrone/AP_at_100'] == result['visdrone/AR_at_500'] == 1
