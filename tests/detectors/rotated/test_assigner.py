"""The assignment from pairs is mmdet's from the matrix."""

import pytest
import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner as Dense
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes

from aerialkd.detectors import rotated
from aerialkd.detectors.rotated import MaxIoUAssigner
from tests.detectors.rotated.test_overlaps import KINDS, priors, random_boxes

pytestmark = pytest.mark.rounding

SETTINGS = dict(
    rotated_retinanet=dict(
        pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1
    ),
    strict=dict(
        pos_iou_thr=0.5, neg_iou_thr=(0.1, 0.4), min_pos_iou=0.3, ignore_iof_thr=0.5
    ),
    first_best=dict(
        pos_iou_thr=0.6,
        neg_iou_thr=0.3,
        gt_max_assign_all=False,
        ignore_iof_thr=0.3,
        ignore_wrt_candidates=False,
    ),
    no_low_quality=dict(pos_iou_thr=0.5, neg_iou_thr=0.5, match_low_quality=False),
    all_positive=dict(pos_iou_thr=0.0, neg_iou_thr=0.0),
)


def both(setting):
    ours = MaxIoUAssigner(
        **SETTINGS[setting], iou_calculator=dict(type='aerialkd.RBboxOverlaps2D')
    )
    dense = Dense(
        **SETTINGS[setting], iou_calculator=dict(type='mmrotate.RBboxOverlaps2D')
    )
    return ours, dense


def instances(boxes, **more):
    boxes = RotatedBoxes(boxes)
    return InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) % 7, **more)


def assert_same(setting, anchors, boxes, ignored=None):
    ignored = None if ignored is None else instances(ignored)
    found, expected = (
        assigner.assign(
            InstanceData(priors=RotatedBoxes(anchors)), instances(boxes), ignored
        )
        for assigner in both(setting)
    )
    assert found.num_gts == expected.num_gts
    assert torch.equal(found.gt_inds, expected.gt_inds)
    assert torch.equal(found.max_overlaps, expected.max_overlaps)
    assert torch.equal(found.labels, expected.labels)
    return found


@pytest.mark.parametrize('setting', SETTINGS)
@pytest.mark.parametrize('kind', KINDS)
def test_equals_mmdet(setting, kind):
    anchors = torch.cat([priors(64), random_boxes(200), kind(100)])
    boxes = torch.cat([kind(30), random_boxes(10, sides=(8.0, 60.0))])
    found = assert_same(setting, anchors, boxes, random_boxes(3, sides=(60.0, 90.0)))
    assert (found.gt_inds > 0).any()


@pytest.mark.parametrize('setting', SETTINGS)
def test_equals_mmdet_with_twins_and_everything_ignored(setting):
    """Equal objects tie in every prior; an object may meet no prior at all."""
    anchors = priors(64)
    twins = random_boxes(4, 64, (20.0, 40.0)).repeat(2, 1)
    assert_same(setting, anchors, twins)
    far = torch.tensor([[900.0, 900.0, 20.0, 10.0, 0.3]])
    assert_same(setting, anchors, torch.cat([far, twins]))
    assert_same(setting, anchors, torch.cat([twins, far]))
    everything = torch.tensor([[32.0, 32.0, 2000.0, 2000.0, 0.0]])
    assert_same(setting, anchors, twins, everything)


@pytest.mark.parametrize('setting', SETTINGS)
def test_no_objects(setting):
    assert_same(setting, priors(64), torch.zeros(0, 5))
    assert_same(setting, priors(64), torch.zeros(0, 5), random_boxes(2))


def test_other_calculators_take_the_matrix():
    assigner = MaxIoUAssigner(
        **SETTINGS['strict'], iou_calculator=dict(type='mmdet.BboxOverlaps2D')
    )
    boxes = torch.tensor([[0.0, 0, 10, 10], [40, 40, 60, 60]])
    result = assigner.assign(
        InstanceData(priors=boxes),
        InstanceData(bboxes=boxes[:1], labels=torch.tensor([3])),
    )
    assert result.gt_inds.tolist() == [1, -1]


def test_computes_what_can_decide_something_alone(monkeypatch):
    """Neither a matrix, nor the exact overlap of a small object and a large prior."""
    computed = []
    calculate = rotated.RBboxOverlaps2D.__call__

    def counted(self, boxes, anchors, mode='iou', is_aligned=False):
        assert is_aligned
        computed.append(len(boxes))
        return calculate(self, boxes, anchors, mode, is_aligned)

    monkeypatch.setattr(rotated.RBboxOverlaps2D, '__call__', counted)
    ours, dense = both('rotated_retinanet')
    anchors, boxes = priors(128), random_boxes(20, 128, (20.0, 60.0))
    result = ours.assign(InstanceData(priors=anchors), instances(boxes))
    pairs = rotated.overlapping_pairs(boxes, anchors)
    assert 0 < sum(computed) < 0.5 * len(pairs.first)
    monkeypatch.undo()
    expected = dense.assign(InstanceData(priors=anchors), instances(boxes))
    assert torch.equal(result.gt_inds, expected.gt_inds)
    assert torch.equal(result.max_overlaps, expected.max_overlaps)
