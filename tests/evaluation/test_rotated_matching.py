"""DOTA's matching by hand, against plain loops, and against mmrotate."""

import numpy as np
import pytest
import shapely
from mmrotate.evaluation import eval_rbbox_map
from mmrotate.structures.bbox import qbox2rbox
from torch import from_numpy

from aerialkd.errors import ShapeError
from aerialkd.evaluation import rotated_matching
from aerialkd.evaluation.rotated_matching import (
    IOUS,
    area_under,
    curve,
    eleven_points,
    joined,
    match_image,
    polygon_iou,
    polygons,
    precision_at,
)
from aerialkd.evaluation.rotated_tables import rotated_tables
from aerialkd.structures.corners import corners
from tests.evaluation.rotated_sets import (
    CLASSES,
    THRESHOLDS,
    Image,
    Oracle,
    overlap,
    random_image,
    random_set,
)

SQUARE = [50.0, 50, 20, 20, 0]


def matches_of(gt, found, difficult=(), labels=None, scores=None):
    """Matches of one image; scores fall in the order of the detections."""
    gt, found = np.array(gt, float), np.array(found, float)
    gt_labels, found_labels = labels or ([0] * len(gt), [0] * len(found))
    ignored = np.zeros(len(gt), bool)
    ignored[list(difficult)] = True
    if scores is None:
        scores = np.linspace(0.9, 0.1, len(found))
    return match_image(
        found.reshape(len(found), -1) if len(found) else np.zeros((0, 5)),
        np.array(found_labels, int),
        np.array(scores, float),
        gt.reshape(len(gt), -1) if len(gt) else np.zeros((0, 8)),
        np.array(gt_labels, int),
        ignored,
    )


def matched(image):
    return match_image(
        image.boxes,
        image.labels,
        image.scores,
        image.gt_boxes,
        image.gt_labels,
        image.gt_ignored,
    )


def states(*args, threshold=0.5, **kwargs):
    return matches_of(*args, **kwargs).states([threshold])[0].tolist()


def moved(dx, dy=0.0, box=SQUARE):
    return [box[0] + dx, box[1] + dy, *box[2:]]


class TestByHand:
    def test_the_best_scored_detection_of_an_object_is_right(self):
        found = [moved(2), moved(0), moved(100)]
        assert states([SQUARE], found) == [1, 0, 0]
        assert states([SQUARE], found, scores=[0.1, 0.2, 0.3]) == [0, 1, 0]

    def test_of_equal_scores_the_first_is_the_best(self):
        assert states([SQUARE], [moved(2), moved(0)], scores=[0.5, 0.5]) == [1, 0]

    def test_a_better_scored_one_below_the_threshold_takes_nothing(self):
        found = [moved(6), moved(0)]  # IoU 14/26
        assert states([SQUARE], found, threshold=0.5) == [1, 0]
        assert states([SQUARE], found, threshold=0.55) == [0, 1]

    def test_the_object_of_the_largest_iou_counts_even_if_it_is_taken(self):
        # The second covers both; the first object is taken, the second one free.
        assert states([SQUARE, moved(6)], [moved(0), moved(2)]) == [1, 0]
        assert states([SQUARE, moved(6)], [moved(0), moved(4)]) == [1, 1]

    def test_nothing_on_a_difficult_object_counts(self):
        found = [moved(1), moved(0), moved(9)]
        assert states([SQUARE], found, difficult=[0]) == [-1, -1, 0]

    def test_a_nearer_difficult_object_takes_the_detection_from_another(self):
        truth = [SQUARE, moved(4)]
        assert states(truth, [moved(3)], difficult=[1]) == [-1]
        assert states(truth, [moved(1)], difficult=[1]) == [1]

    def test_objects_of_other_classes_do_not_matter(self):
        labels = ([0, 1], [1, 0, 2])
        assert states([SQUARE, moved(5)], [moved(1)] * 3, labels=labels) == [1, 1, 0]

    def test_an_object_annotated_twice_is_found_once(self):
        assert states([SQUARE, SQUARE], [SQUARE, SQUARE]) == [1, 0]

    def test_at_least_the_threshold(self):
        half = [50.0, 55, 20, 10, 0]
        found = matches_of([SQUARE], [half])
        assert found.iou.tolist() == [0.5]
        assert found.states([0.5]).tolist() == [[1]]
        assert found.states([np.nextafter(0.5, 1)]).tolist() == [[0]]

    def test_images_keep_their_own_objects(self):
        images = [
            matches_of([], [SQUARE]),
            matches_of([SQUARE, moved(60)], [moved(60)]),
            matches_of([SQUARE], []),
            matches_of([SQUARE], [moved(1)]),
        ]
        together = joined(images)
        assert together.best.tolist() == [-1, 1, 3]
        assert together.states([0.5]).tolist() == [[0, 1, 1]]

    def test_area_and_eleven_points(self):
        # Right, wrong, right; two objects. Precision 1, 1/2, 2/3 at recall .5, .5, 1.
        precision, recall = curve(np.array([1, 0, 1]), 2)
        assert precision.tolist() == pytest.approx([1, 2 / 3, 2 / 3])
        assert recall.tolist() == [0.5, 0.5, 1]
        assert area_under(precision, recall) == pytest.approx(0.5 + 0.5 * 2 / 3)
        assert eleven_points(precision, recall) == pytest.approx((6 + 5 * 2 / 3) / 11)

    def test_what_does_not_count_leaves_the_curve_alone(self):
        with_difficult = curve(np.array([-1, 1, -1, 0, 1]), 2)
        for one, other in zip(with_difficult, curve(np.array([1, 0, 1]), 2), strict=1):
            assert one.tolist() == other.tolist()

    def test_recall_of_three_tenths_does_not_reach_the_devkits_third_point(self):
        precision, recall = curve(np.array([1, 1, 1]), 10)
        assert recall[-1] == 0.3
        assert eleven_points(precision, recall) == pytest.approx(3 / 11)
        assert precision_at(np.array([0.3]), precision, recall) == [1]

    def test_a_double_detection_and_a_difficult_object_in_the_tables(self):
        truth = [SQUARE, moved(100), moved(0, 100)]
        found = [moved(0), moved(1), moved(0, 100), moved(100)]
        tables = rotated_tables([matches_of(truth, found, difficult=[2])], 2)
        assert tables.objects.tolist() == [2, 0]
        assert tables.detections.tolist() == [4, 0]
        area, eleven = 0.5 + 0.5 * 2 / 3, (6 + 5 * 2 / 3) / 11
        assert tables.summary() == pytest.approx(
            dict(
                mAP50=area,
                AP75=area,
                mAP=area,
                mAP50_11=eleven,
                AP75_11=eleven,
                mAP_11=eleven,
            )
        )
        assert tables.of_class(0)['AP50_11'] == pytest.approx(eleven)
        assert set(tables.of_class(1).values()) == {-1}
        assert (tables.recall_50(0), tables.recall_50(1)) == (1, -1)

    def test_thresholds_have_names(self):
        # IoU 18/22 = .818: right at .5 to .8.
        tables = rotated_tables([matches_of([SQUARE], [moved(2)])], 1)
        assert tables.of_class(0) == dict(AP50=1, AP75=1, AP=0.7, AP50_11=1)
        tables = rotated_tables([matches_of([SQUARE], [moved(4)])], 1)  # 16/24
        assert tables.of_class(0) == dict(AP50=1, AP75=0, AP=0.4, AP50_11=1)

    def test_nothing_there(self):
        tables = rotated_tables([matches_of([], [SQUARE]), matches_of([], [])], 2)
        assert set(tables.summary().values()) == {-1}
        tables = rotated_tables([matches_of([SQUARE], [])], 1)
        assert set(tables.summary().values()) == {0}
        tables = rotated_tables([matches_of([SQUARE], [SQUARE], difficult=[0])], 1)
        assert set(tables.summary().values()) == {-1}


class TestPolygons:
    def test_turned_by_an_eighth(self):
        # An octagon is shared: 2 (sqrt 2 - 1) of the square.
        pair = polygons(np.array([SQUARE, [*SQUARE[:4], np.pi / 4]]))
        shared = 2 * (np.sqrt(2) - 1)
        assert polygon_iou(pair[:1], pair[1:]) == pytest.approx(shared / (2 - shared))

    @pytest.mark.parametrize('far', [0, 20_000])
    def test_precise_in_large_scenes(self, far):
        rng = np.random.default_rng(0)
        image = random_image(rng, 40, 60)
        image.gt_boxes += far
        image.boxes[:, :2] += far
        result = matched(image)
        hit = result.best >= 0
        assert hit.sum() > 40
        pairs = zip(
            corners(image.boxes[hit]), image.gt_boxes[result.best[hit]], strict=True
        )
        expected = [overlap(*pair) for pair in pairs]
        assert result.iou[hit] == pytest.approx(expected, abs=1e-9)
        assert (result.iou[~hit] == 0).all()

    def test_a_bow_tie_is_its_hull(self):
        bow = np.array([[0, 0, 10, 10, 10, 0, 0, 10.0]])
        (shape,) = polygons(bow)
        assert shapely.area(shape) == 100

    @pytest.mark.parametrize('size', [(0, 10), (10, 0), (0, 0)])
    def test_what_has_no_area_overlaps_nothing(self, size):
        flat = [50.0, 50, *size, 0.3]
        result = matches_of([SQUARE, flat], [flat, SQUARE])
        assert result.iou.tolist() == [0, 1]
        assert result.states([0.5]).tolist() == [[0, 1]]

    def test_other_shapes(self):
        with pytest.raises(ShapeError, match=r'got \(3, 6\), expected'):
            polygons(np.zeros((3, 6)))


@pytest.mark.parametrize('seed', range(3))
def test_agrees_with_plain_loops(seed):
    images = random_set(seed)
    tables = rotated_tables([matched(image) for image in images], len(CLASSES))
    for label in range(len(CLASSES)):
        oracle = Oracle(images, label)
        assert tables.objects[label] == oracle.objects
        assert tables.detections[label] == len(oracle.rows)
        for index, threshold in enumerate(THRESHOLDS):
            area, eleven = oracle.area(threshold), oracle.eleven(threshold)
            assert tables.area[index, label] == pytest.approx(area, abs=1e-9)
            assert tables.eleven[index, label] == pytest.approx(eleven, abs=1e-9)
            if label < 3 and index < 4:
                assert 0.02 < area < 0.9
    present = tables.area[:, :3]
    summary = tables.summary()
    assert summary['mAP50'] == pytest.approx(present[0].mean())
    assert summary['AP75'] == pytest.approx(present[5].mean())
    assert summary['mAP'] == pytest.approx(present.mean())
    assert summary['mAP_11'] == pytest.approx(tables.eleven[:, :3].mean())


@pytest.mark.parametrize('eleven', [True, False])
def test_agrees_with_mmrotate(without_processes, eleven):
    rng = np.random.default_rng(5)
    images = [clear_image(rng) for _ in range(12)]
    detections = [
        [
            np.column_stack([i.boxes, i.scores])[i.labels == k].astype(np.float32)
            for k in range(len(CLASSES))
        ]
        for i in images
    ]
    annotations = []
    for i in images:
        boxes = np.asarray(qbox2rbox(from_numpy(i.gt_boxes).float()))
        annotations.append(
            dict(
                bboxes=boxes[~i.gt_ignored],
                labels=i.gt_labels[~i.gt_ignored],
                bboxes_ignore=boxes[i.gt_ignored],
                labels_ignore=i.gt_labels[i.gt_ignored],
            )
        )
    theirs, _ = eval_rbbox_map(
        detections, annotations, use_07_metric=eleven, dataset=CLASSES, logger='silent'
    )
    ours = rotated_tables([matched(image) for image in images], len(CLASSES)).summary()
    assert 0.1 < theirs < 0.9
    assert ours['mAP50_11' if eleven else 'mAP50'] == pytest.approx(theirs, abs=1e-6)


def clear_image(rng):
    """Rectangles, scores that differ, no IoU near .5 and no two nearly alike."""
    while True:
        image = random_image(rng, 8, 40)
        # mmcv's float32 IoU of two equal boxes can be 1/3.
        moved_a_little = image.boxes[:8] + np.array([0.4, 0.3, 0.2, 0.1, 0.01])
        image.gt_boxes = corners(moved_a_little).reshape(-1, 8)
        image.gt_labels = image.labels[:8]
        image.scores = rng.random(len(image.scores))
        table = polygon_iou(
            polygons(image.boxes)[:, None].repeat(8, 1).ravel(),
            np.tile(polygons(image.gt_boxes), len(image.boxes)),
        ).reshape(-1, 8)
        two = np.sort(table, axis=1)[:, -2:]
        if (np.abs(table - 0.5) > 1e-3).all() and (two[:, 1] - two[:, 0] > 1e-3).all():
            return image


def test_polygons_are_cut_where_they_may_meet_alone(monkeypatch):
    """10,000 detections and 2,500 objects in 50 images: of 500,000 pairs a few."""
    cut = []

    def counted(shapes, others):
        cut.append(len(shapes))
        return polygon_iou(shapes, others)

    monkeypatch.setattr(rotated_matching, 'polygon_iou', counted)
    rng = np.random.default_rng(0)
    images = [random_image(rng, 50, 200) for _ in range(50)]
    for image in images:
        image.gt_labels = image.gt_labels * 5 + rng.integers(0, 5, 50)
        image.labels = image.labels * 5 + rng.integers(0, 5, 200)
    tables = rotated_tables([matched(image) for image in images], 15)
    assert 0 < sum(cut) < 10_000
    assert tables.objects.sum() > 1500
    assert tables.detections.sum() == 10_000


def test_thresholds_are_those_of_coco():
    assert pytest.approx(THRESHOLDS, abs=1e-15) == IOUS
    assert isinstance(random_set(0, 3)[0], Image)
