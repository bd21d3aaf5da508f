"""What the curves and pictures count is what the metrics count."""

from dataclasses import replace

import numpy as np
import pytest
from mmrotate.evaluation import eval_rbbox_map

from aerialkd.engine.evaluated import EvaluatedImage, EvaluatedRun
from aerialkd.evaluation import RotatedMetric, VisDroneMetric
from aerialkd.structures.corners import corners
from aerialkd.visualization.report.matching import (
    best_threshold,
    box_counts,
    class_averages,
    counted_images,
    match,
    outcome,
    tables_of,
)

CLASSES = ('car', 'bus', 'van')
BOXES = ('gt_boxes', 'boxes')


def run_of(images, regions=False, max_dets=500):
    return EvaluatedRun(
        metrics={},
        images=tuple(images),
        classes=CLASSES,
        ignored_regions=regions,
        max_dets=max_dets,
        parameters=1,
        flops=1,
        input_size=(200, 200),
        images_per_second=1.0,
        threads=1,
        device='cpu',
    )


def image_of(gt, detections, ignored=(), labels=None, scores=None):
    gt, detections = np.array(gt, float), np.array(detections, float)
    flags = np.zeros(len(gt), bool)
    flags[list(ignored)] = True
    columns = max((a.shape[1] for a in (gt, detections) if a.size), default=4)
    if scores is None:
        scores = np.linspace(0.9, 0.1, len(detections))
    gt_labels, found_labels = labels or ([0] * len(gt), [0] * len(detections))
    return EvaluatedImage(
        path='a.jpg',
        size=(200, 200),
        gt_boxes=gt.reshape(-1, columns),
        gt_labels=np.array(gt_labels, np.int64),
        gt_ignored=flags,
        boxes=detections.reshape(-1, columns),
        labels=np.array(found_labels, np.int64),
        scores=np.array(scores, float),
    )


def random_image(rng, rotated=False, objects=12, detections=30):
    """Objects, detections near them and elsewhere, of all sizes and classes."""
    size = rng.uniform(8, 110, (objects, 2))
    centre = rng.uniform(20, 180, (objects, 2))
    near = rng.integers(0, objects, detections)
    labels = rng.integers(0, 2, objects)  # no van anywhere
    other = np.where(rng.random(detections) < 0.8, labels[near], 2)
    moved = centre[near] + rng.normal(0, 4, (detections, 2))
    grown = size[near] * rng.uniform(0.8, 1.2, (detections, 2))
    if rotated:
        angle = rng.uniform(-1.5, 1.5, (objects, 1))
        gt = np.concatenate([centre, size, angle], 1)
        found = np.concatenate([moved, grown, angle[near]], 1)
    else:
        gt = np.concatenate([centre - size / 2, centre + size / 2], 1)
        found = np.concatenate([moved - grown / 2, moved + grown / 2], 1)
    scores = np.sort(rng.random(detections))[::-1]
    ignored = np.flatnonzero(rng.random(objects) < 0.2)
    return image_of(gt, found, ignored, (labels, other), scores)


@pytest.mark.parametrize('regions', [True, False])
@pytest.mark.parametrize('max_dets', [20, 500])
def test_horizontal_tables_are_those_of_the_metric(regions, max_dets):
    rng = np.random.default_rng(1)
    images = [random_image(rng) for _ in range(6)]
    metric = VisDroneMetric((max_dets,), classwise=True, ignored_regions=regions)
    metric.dataset_meta = {'classes': CLASSES}
    for index, image in enumerate(images):
        instances = [
            dict(bbox=box, bbox_label=label, ignore_flag=int(flag))
            for box, label, flag in zip(
                image.gt_boxes, image.gt_labels, image.gt_ignored, strict=True
            )
        ]
        predicted = dict(bboxes=image.boxes, labels=image.labels, scores=image.scores)
        sample = dict(img_id=index, ori_shape=(200, 200), instances=instances)
        metric.process(None, [sample | dict(pred_instances=predicted)])
    expected = metric.compute_metrics(metric.results)
    tables = tables_of(run_of(images, regions, max_dets))
    summary = tables.summary()
    assert summary['AP'] > 0.05
    for name, value in summary.items():
        assert value == pytest.approx(expected[f'{name}@{max_dets}']), name
    for name, value in class_averages(run_of(images, regions, max_dets)).items():
        assert value == pytest.approx(expected[f'{name}/AP_at_{max_dets}']), name


def test_rotated_tables_are_those_of_mmrotate(without_processes):
    rng = np.random.default_rng(2)
    images = [random_image(rng, rotated=True) for _ in range(5)]
    detections = [
        [
            np.column_stack([i.boxes, i.scores])[i.labels == k].astype(np.float32)
            for k in range(len(CLASSES))
        ]
        for i in images
    ]
    annotations = [
        dict(
            bboxes=i.gt_boxes[~i.gt_ignored].astype(np.float32),
            labels=i.gt_labels[~i.gt_ignored],
            bboxes_ignore=i.gt_boxes[i.gt_ignored].astype(np.float32),
            labels_ignore=i.gt_labels[i.gt_ignored],
        )
        for i in images
    ]
    _, classes = eval_rbbox_map(
        detections,
        annotations,
        use_07_metric=False,
        dataset=CLASSES,
        logger='silent',
        nproc=1,
    )
    precision = tables_of(run_of(images)).precision[0, :, :, 0]
    for k, theirs in enumerate(classes[:2]):
        # 101 points against the exact area.
        assert precision[:, k].mean() == pytest.approx(float(theirs['ap']), abs=0.01)
    assert (precision[:, 2] == -1).all()  # no van


@pytest.mark.parametrize('corners_given', [True, False])
def test_rotated_tables_are_those_of_the_metric(corners_given):
    rng = np.random.default_rng(3)
    images = [random_image(rng, rotated=True) for _ in range(5)]
    if corners_given:
        images = [
            replace(i, **{k: corners(getattr(i, k)).reshape(-1, 8) for k in BOXES})
            for i in images
        ]
    assert run_of(images).rotated
    metric = RotatedMetric(classwise=True)
    metric.dataset_meta = {'classes': CLASSES}
    for index, image in enumerate(images):
        instances = [
            dict(bbox=box, bbox_label=label, ignore_flag=int(flag))
            for box, label, flag in zip(
                image.gt_boxes, image.gt_labels, image.gt_ignored, strict=True
            )
        ]
        predicted = dict(bboxes=image.boxes, labels=image.labels, scores=image.scores)
        sample = dict(img_id=index, ori_shape=(200, 200), instances=instances)
        metric.process(None, [sample | dict(pred_instances=predicted)])
    expected = metric.compute_metrics(metric.results)
    tables = tables_of(run_of(images))
    assert tables.precision.shape == (10, 101, 3, 4)
    for k, name in enumerate(CLASSES[:2]):
        # 101 points against the exact area.
        for measure, value in tables.of_class(k).items():
            theirs = expected[f'{name}/{measure}']
            assert theirs > 0.1
            assert value == pytest.approx(theirs, abs=0.01)
    for ours, theirs in (('AP', 'mAP'), ('AP50', 'mAP50'), ('AP75', 'AP75')):
        assert tables.summary()[ours] == pytest.approx(expected[theirs], abs=0.01)
    for name, value in class_averages(run_of(images)).items():
        assert value == pytest.approx(expected[f'{name}/AP']), name


def test_rotated_boxes_are_matched_as_dota_does():
    # The second detection's best object is taken; the third's is difficult.
    gt = [[50, 50, 20, 20, 0], [56, 50, 20, 20, 0], [120, 50, 20, 20, 0]]
    found = [gt[0], [52, 50, 20, 20, 0], [121, 50, 20, 20, 0]]
    state, taken = match(image_of(gt, found, ignored=[2]))
    assert state.tolist() == [1, 0, -1]
    assert taken.tolist() == [True, False, False]
    result = outcome(image_of(gt, found, ignored=[2]), 0)
    assert result.missed.tolist() == [gt[1]]


def test_rotated_objects_of_other_sizes_take_no_part():
    small, large = [50, 50, 20, 20, 0.3], [120, 120, 60, 60, 0.3]
    run = run_of([image_of([small, large], [small, large, [20, 150, 15, 15, 0]])])
    means = tables_of(run).precision[0, :, 0].mean(axis=0)
    # All, small (one false box behind it), medium, large (none).
    assert means.tolist() == [1, 1, 1, -1]
    run = run_of([image_of([small, large], [[20, 150, 15, 15, 0], small, large])])
    means = tables_of(run).precision[0, :, 0].mean(axis=0)
    assert means == pytest.approx([2 / 3, 1 / 2, 1, -1], abs=0.01)


def test_ignored_regions_are_taken_out():
    gt = [[0, 0, 100, 100], [10, 10, 30, 30], [150, 150, 170, 170]]
    found = [[12, 12, 32, 32], [150, 150, 170, 170]]
    image = image_of(gt, found, ignored=[0])
    (counted,) = counted_images(run_of([image], regions=True))
    assert counted.gt_boxes.tolist() == [gt[2]]
    assert counted.boxes.tolist() == [found[1]]
    (counted,) = counted_images(run_of([image], regions=False))
    assert len(counted.gt_boxes) == 3


def test_a_region_beyond_the_image_is_no_object():
    image = image_of([[150, 150, 900, 900]], [[0, 0, 9, 9], [20, 0, 29, 9]], [0])
    (counted,) = counted_images(run_of([image], regions=True, max_dets=1))
    assert len(counted.gt_boxes) == 0
    assert counted.boxes.tolist() == [[0, 0, 9, 9]]  # the best one


def test_outcome_of_each_box():
    gt = [[10, 10, 30, 30], [50, 50, 70, 70], [100, 100, 140, 140], [0, 150, 40, 190]]
    found = [
        [10, 10, 30, 30],  # found
        [11, 11, 31, 31],  # the same again: false
        [100, 100, 140, 140],  # of another class: false
        [5, 155, 20, 170],  # inside an ignored box: neither
        [150, 0, 160, 10],  # false, but below the threshold
    ]
    image = image_of(gt, found, ignored=[3], labels=([0] * 4, [0, 0, 1, 0, 0]))
    result = outcome(image, threshold=0.2)
    assert result.found.tolist() == [found[0]]
    assert result.false.tolist() == found[1:3]
    assert result.missed.tolist() == gt[1:3]
    assert (result.objects, result.score) == (3, -1)


def test_the_best_overlap_is_taken_and_each_object_once():
    gt = [[0, 0, 20, 20], [0, 4, 20, 24]]
    state, taken = match(image_of(gt, [[0, 3, 20, 23], [0, 2, 20, 22]]))
    assert state.tolist() == [1, 1]
    assert taken.all()
    state, taken = match(image_of(gt[1:], [[0, 3, 20, 23], [0, 4, 20, 24]]))
    assert state.tolist() == [1, 0]


def test_images_without_objects_or_detections():
    nothing = image_of([], [])
    only_found = image_of([], [[0, 0, 9, 9]])
    only_gt = image_of([[0, 0, 9, 9]], [])
    assert outcome(nothing, 0).score == 0
    assert outcome(only_found, 0).score == -1
    assert len(outcome(only_gt, 0).missed) == 1
    assert best_threshold([nothing, only_found, only_gt]) == 0
    run = run_of([nothing, only_found, only_gt])
    assert tables_of(run).precision[..., 0, 0].max() == 0


def test_the_threshold_has_the_best_f1():
    # Right, right, false, right, false: F1 of the first four is 6/7.
    gt = [[x, 0, x + 10, 10] for x in (0, 20, 40)]
    found = [gt[0], gt[1], [100, 0, 110, 10], gt[2], [120, 0, 130, 10]]
    image = image_of(gt, found, scores=[0.9, 0.8, 0.7, 0.6, 0.5])
    assert best_threshold([image]) == 0.6


def test_box_counts_by_class_and_size():
    gt = [[0, 0, 31, 31], [0, 0, 32, 32], [0, 0, 100, 100], [0, 0, 5, 5]]
    image = image_of(gt, [], ignored=[3], labels=([0, 0, 1, 1], []))
    counts = box_counts([image], 3)
    assert counts.tolist() == [[2, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]]
    rotated = image_of([[50, 50, 10, 40, 0.5]], [])
    assert box_counts([rotated], 3)[0].tolist() == [1, 1, 0, 0]
    turned = image_of([[0, 40, 40, 0, 80, 40, 40, 80]], [])
    assert box_counts([turned], 3)[0].tolist() == [1, 0, 1, 0]
