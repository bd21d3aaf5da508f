"""LD: what is compared on which priors, how it is weighed and what divides it."""

import copy

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes
from torch.autograd import gradcheck

from aerialkd.engine.profile import made_batch
from aerialkd.errors import ConfigError, RecordError, ShapeError
from aerialkd.losses import LDLoss
from aerialkd.structures import AssignedTargets, BatchContext
from tests.builders import (
    dist_rotated_retinanet,
    distill,
    fcos,
    gfl,
    retinanet,
    yolov8,
)

K = 3
BUILDERS = dict(gfl=gfl, yolov8=yolov8, rotated=dist_rotated_retinanet)
SIZES = dict(
    gfl=[(8, 8), (4, 4), (2, 2), (1, 1)],
    yolov8=[(8, 8), (4, 4), (2, 2)],
    rotated=[(8, 8), (4, 4), (2, 2), (1, 1)],
)
BINS = dict(gfl=9, yolov8=16, rotated=9)
A = dict(gfl=1, yolov8=1, rotated=6)
HEADS = pytest.mark.parametrize('kind', BUILDERS)


def cfg_of(kind):
    cfg = BUILDERS[kind]()
    if kind == 'gfl':
        cfg.bbox_head.loss_cls.use_sigmoid = True
    return cfg


def head_of(kind):
    return MODELS.build(cfg_of(kind)).bbox_head


def sides(kind):
    return 5 if kind == 'rotated' else 4


def num_priors(kind):
    return A[kind] * sum(h * w for h, w in SIZES[kind])


def outputs(kind, dtype=torch.float32, images=2):
    """Random class scores and distributions of a head, by level."""
    widths = K, sides(kind) * BINS[kind]
    return tuple(
        tuple(
            torch.randn(images, A[kind] * width, *size, dtype=dtype)
            for size in SIZES[kind]
        )
        for width in widths
    )


def by_prior(levels, kind, channels):
    """mmdet's order, spelled out: levels, rows, columns, anchors."""
    rows = [
        level[image, a * channels : (a + 1) * channels, y, x]
        for image in range(len(levels[0]))
        for level in levels
        for y in range(level.shape[2])
        for x in range(level.shape[3])
        for a in range(A[kind])
    ]
    return torch.stack(rows).view(len(levels[0]), -1, channels)


def boxes_of(kind, number=4):
    wh = torch.tensor([[20.0, 14.0], [9.0, 30.0], [26.0, 24.0], [12.0, 11.0]])
    centre = torch.tensor([[20.0, 22.0], [45.0, 40.0], [30.0, 40.0], [52.0, 10.0]])
    if kind == 'rotated':
        angle = torch.tensor([[0.3], [-1.2], [0.0], [1.5]])
        return torch.cat([centre, wh, angle], 1)[:number]
    return torch.cat([centre - wh / 2, centre + wh / 2], 1)[:number]


def context(kind, positive, image=(64, 64), heads=None, numbers=(4, 0)):
    """Two images of which the given (image, prior) pairs are positive."""
    length = num_priors(kind)
    labels = torch.full((2, length), K)
    for where in positive:
        labels[where] = 1
    assigned = AssignedTargets(
        labels=labels,
        label_weights=torch.ones(2, length),
        bbox_targets=torch.zeros(2, length, sides(kind)),
        bbox_weights=torch.zeros(2, length, sides(kind)),
        priors=torch.zeros(2, length, sides(kind)),
        num_level_priors=tuple(A[kind] * h * w for h, w in SIZES[kind]),
        avg_factor=torch.tensor(1.0),
        num_classes=K,
    )
    samples = []
    for number in numbers:
        sample = DetDataSample(metainfo=dict(img_shape=image))
        sample.gt_instances = InstanceData(
            bboxes=boxes_of(kind, number), labels=torch.zeros(number, dtype=torch.long)
        )
        samples.append(sample)
    heads = heads or (head_of(kind), head_of(kind))
    return BatchContext(samples, (64, 64), lambda: assigned, heads)


def positives(kind):
    return [(0, 3), (0, 18), (1, num_priors(kind) - 1)]


def soft(x, tau):
    odds = np.exp((x - x.max()) / tau)
    return odds / odds.sum()


def kl(s, t, tau):
    """Of one distribution each: tau^2 times the mean over the bins."""
    p, q = soft(t, tau), soft(s, tau)
    return tau**2 * np.mean(p * np.log(p / q))


def oracle(s, t, kind, chosen, weights, tau=10.0):
    """Weighted mean over (image, prior) pairs of the mean over the sides."""
    channels, bins = sides(kind) * BINS[kind], BINS[kind]
    dists = [by_prior(x[1], kind, channels).double().numpy() for x in (s, t)]
    losses = []
    for where in chosen:
        one, other = (x[tuple(where)].reshape(-1, bins) for x in dists)
        losses.append(np.mean([kl(a, b, tau) for a, b in zip(one, other, strict=True)]))
    return np.dot(losses, weights) / max(np.sum(weights), 1)


def class_oracle(s, t, kind, chosen, tau=2.0):
    logits = [by_prior(x[0], kind, K).double().numpy() for x in (s, t)]
    losses = [kl(logits[0][tuple(w)], logits[1][tuple(w)], tau) for w in chosen]
    return np.sum(losses) / max(len(losses), 1)


MAIN = dict(vlr_weight=0.0, cls_weight=0.0)
VLR = dict(loss_weight=0.0, cls_weight=0.0)
CLASS = dict(loss_weight=0.0, vlr_weight=0.0)


@HEADS
class TestTerms:
    def test_main_is_weighed_by_the_students_best_class(self, kind):
        s, t, chosen = outputs(kind), outputs(kind), positives(kind)
        probability = 1 / (1 + np.exp(-by_prior(s[0], kind, K).numpy()))
        weights = [probability[where].max() for where in chosen]
        assert sum(weights) > 1
        expected = 0.25 * oracle(s, t, kind, chosen, weights)
        value = LDLoss(**MAIN)(s, t, context(kind, chosen))
        assert value.item() == pytest.approx(expected, rel=1e-4)
        twice = LDLoss(tau=5.0, **{**MAIN, 'loss_weight': 0.5})
        expected = 0.5 * oracle(s, t, kind, chosen, weights, 5.0)
        found = twice(s, t, context(kind, chosen)).item()
        assert found == pytest.approx(expected, rel=1e-4)

    def test_region_is_weighed_by_iou_and_holds_no_positives(self, kind):
        s, t = outputs(kind), outputs(kind)
        options = dict(VLR, point_scale=3.0)
        free = LDLoss(**options).region(s, context(kind, []))
        inside = (free > 0).nonzero().tolist()
        assert len(inside) > 10
        assert not free[1].any()  # an image without boxes
        chosen = [tuple(where) for where in inside[::3]]  # an assigner took these
        rest = [where for where in inside if tuple(where) not in chosen]
        weights = [free[tuple(where)].item() for where in rest]
        assert sum(weights) > 1
        value = LDLoss(**options)(s, t, context(kind, chosen))
        expected = 0.25 * oracle(s, t, kind, rest, weights)
        assert value.item() == pytest.approx(expected, rel=1e-4)

    def test_class_term_on_positives_or_on_both(self, kind):
        s, t, chosen = outputs(kind), outputs(kind), positives(kind)
        value = LDLoss(**CLASS)(s, t, context(kind, chosen)).item()
        expected = 10 * class_oracle(s, t, kind, chosen)
        assert value == pytest.approx(expected, rel=1e-4)
        both = LDLoss(cls_region='both', **CLASS)
        region = both.region(s, context(kind, chosen))
        union = {tuple(w) for w in (region > 0).nonzero().tolist()} | set(chosen)
        expected = 10 * class_oracle(s, t, kind, union)
        value = both(s, t, context(kind, chosen)).item()
        assert value == pytest.approx(expected, rel=1e-4)

    def test_sum_of_the_terms(self, kind):
        s, t, batch = outputs(kind), outputs(kind), context(kind, positives(kind))
        parts = [LDLoss(**part)(s, t, batch).item() for part in (MAIN, VLR, CLASS)]
        assert all(part > 0 for part in parts)
        assert LDLoss()(s, t, batch).item() == pytest.approx(sum(parts), rel=1e-5)

    def test_padding_is_not_in_the_region(self, kind):
        s = outputs(kind)
        whole = LDLoss().region(s, context(kind, []))
        half = LDLoss().region(s, context(kind, [], image=(64, 32)))
        numbers = iter(range(num_priors(kind)))
        inside = [
            prior
            for h, w in SIZES[kind]
            for _ in range(h)
            for x in range(w)
            for prior in [next(numbers) for _ in range(A[kind])]
            if x < max(w // 2, 1)
        ]
        expected = torch.zeros_like(whole)
        expected[:, inside] = whole[:, inside]
        assert torch.equal(half, expected)
        assert (whole > half).any()


@HEADS
class TestProperties:
    def test_zero_for_equal_outputs(self, kind):
        s = outputs(kind)
        value = LDLoss()(s, s, context(kind, positives(kind)))
        assert value.item() == pytest.approx(0, abs=1e-5)

    def test_gradients_reach_the_student_at_these_priors_alone(self, kind):
        s, t = ([[x.requires_grad_() for x in m] for m in outputs(kind)] for _ in 'ST')
        batch = context(kind, positives(kind))
        loss = LDLoss(point_scale=4.0)
        loss(s, t, batch).backward()
        assert all(x.grad is None for maps in t for x in maps)
        main = batch.assigned.positive
        touched = by_prior([x.grad for x in s[1]], kind, sides(kind) * BINS[kind])
        expected = main | (loss.region(s, batch) > 0)
        assert torch.equal(touched.any(-1), expected)
        # The weights are none: class scores learn at the positives, from the class.
        touched = by_prior([x.grad for x in s[0]], kind, K)
        assert torch.equal(touched.any(-1), main)

    def test_weights_get_no_gradient(self, kind):
        s, t = outputs(kind), outputs(kind)
        scores = [x.requires_grad_() for x in s[0]]
        dists = [x.requires_grad_() for x in s[1]]
        LDLoss(**MAIN)((scores, dists), t, context(kind, positives(kind))).backward()
        assert all(x.grad is None for x in scores)
        assert any(x.grad.any() for x in dists)

    def test_gradient(self, kind):
        t, batch = outputs(kind, torch.float64), context(kind, positives(kind))
        s = outputs(kind, torch.float64)
        last = torch.randn_like(s[1][-1][:, :20])
        rest = s[1][-1][:, 20:]

        def of_last(part):
            dists = [*s[1][:-1], torch.cat([part, rest], 1)]
            return LDLoss(**MAIN)((s[0], dists), t, batch)

        assert gradcheck(of_last, (last.requires_grad_(),), atol=1e-6, rtol=1e-3)

    def test_without_positives_the_region_remains(self, kind):
        s = tuple(tuple(x.requires_grad_() for x in m) for m in outputs(kind))
        t, batch = outputs(kind), context(kind, [])
        value = LDLoss()(s, t, batch)
        assert value.item() == pytest.approx(LDLoss(**VLR)(s, t, batch).item())
        assert value > 0

    def test_without_boxes_it_is_zero_and_attached(self, kind):
        s = tuple(tuple(x.requires_grad_() for x in m) for m in outputs(kind))
        value = LDLoss()(s, outputs(kind), context(kind, [], numbers=(0, 0)))
        assert value.item() == 0
        value.backward()
        assert all(x.grad is not None and not x.grad.any() for m in s for x in m)

    def test_half_precision(self, kind):
        s, t = outputs(kind), outputs(kind)
        halves = [[[x.bfloat16() for x in m] for m in both] for both in (s, t)]
        batch = context(kind, positives(kind))
        half = LDLoss()(*halves, batch)
        assert half.dtype == torch.float32
        assert half.item() == pytest.approx(LDLoss()(s, t, batch).item(), rel=3e-2)

    def test_saturated_outputs_are_finite(self, kind):
        s, t = outputs(kind), outputs(kind)
        s = tuple(tuple((1e4 * x).requires_grad_() for x in m) for m in s)
        value = LDLoss()(s, t, context(kind, positives(kind)))
        value.backward()
        assert torch.isfinite(value)
        assert all(torch.isfinite(x.grad).all() for m in s for x in m)

    def test_shows_where_it_compares(self, kind):
        s, t, batch = outputs(kind), outputs(kind), context(kind, positives(kind))
        loss = LDLoss()
        masks = loss.masks(t, batch)
        assert list(masks) == ['positive priors', 'valuable region (IoU)']
        for drawn in masks.values():
            assert [x.shape for x in drawn] == [(2, *size) for size in SIZES[kind]]
        assert sum(x.sum() for x in masks['positive priors']) == 3
        total = sum(x.sum() for x in masks['valuable region (IoU)']).item()
        region = loss.region(s, batch)
        assert total == pytest.approx(region.sum().item(), rel=1e-5)
        maps = loss.spatial_maps(s, t, batch)
        assert list(maps) == ['main loss', 'VLR loss', 'class loss']
        for term, drawn in zip(loss.terms(s, t, batch), maps.values(), strict=True):
            # At the right place: where the priors of the term lie.
            touched = torch.cat([x.flatten(1) for x in drawn], 1) > 0
            chosen = term.chosen.view(2, -1, A[kind]).any(-1)
            assert not (touched & ~chosen).any()
            shares = (term.factor * term.losses * term.weights).sum().item()
            assert sum(x.sum() for x in drawn).item() == pytest.approx(shares, rel=1e-5)
        assert loss.spatial_maps(s, t) == {}


@HEADS
def test_in_a_step_with_the_students_own_assignment(kind):
    model = MODELS.build(
        distill(
            architecture=cfg_of(kind),
            teacher=cfg_of(kind),
            distiller=dict(
                type='aerialkd.DetectionDistiller',
                recorders=dict(head=dict(type='HeadOutputs')),
                distill_losses=dict(ld=dict(type='aerialkd.LDLoss')),
                loss_forward_mappings=dict(ld='head'),
            ),
        )
    ).train()
    for boxes in (6, 0):
        data = made_batch(model, 2, (64, 96), boxes)
        loss, log = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
        assert (log['distill.loss_ld'] > 0) == (boxes > 0)
        assert torch.isfinite(loss)


@pytest.mark.parametrize('builder', [retinanet, fcos])
def test_heads_without_distributions_are_refused(builder):
    head = MODELS.build(builder()).bbox_head.train()
    levels = head([torch.randn(2, 16, *size) for size in SIZES['gfl']])
    batch = context('gfl', [], heads=(head, copy.deepcopy(head)))
    with pytest.raises(ConfigError, match='expected a distribution over bins'):
        LDLoss()(levels, levels, batch)


class TestMistakes:
    def test_arguments(self):
        with pytest.raises(ConfigError, match=r'LDLoss\.tau: got 0'):
            LDLoss(tau=0)
        with pytest.raises(ConfigError, match=r'LDLoss\.point_scale: got -1'):
            LDLoss(point_scale=-1)
        with pytest.raises(ConfigError, match=r'gamma: got 1, .* below 1'):
            LDLoss(gamma=1)
        with pytest.raises(ConfigError, match=r"cls_region: .* one of 'main'"):
            LDLoss(cls_region='region')
        with pytest.raises(ConfigError, match='vlr_weight: got -1'):
            LDLoss(vlr_weight=-1)
        with pytest.raises(ConfigError, match='expected one of them above 0'):
            LDLoss(loss_weight=0.0, vlr_weight=0.0, cls_weight=0.0)

    def test_one_class_has_no_class_term(self):
        cfg = cfg_of('gfl')
        cfg.bbox_head.num_classes = 1
        heads = [MODELS.build(cfg).bbox_head for _ in range(2)]
        s, t = (
            (tuple(x[:, :1] for x in cls), dists)
            for cls, dists in (outputs('gfl'), outputs('gfl'))
        )
        batch = context('gfl', positives('gfl'), heads=heads)
        with pytest.raises(ConfigError, match='Set cls_weight=0'):
            LDLoss()(s, t, batch)
        assert LDLoss(cls_weight=0.0)(s, t, batch) > 0

    def test_softmax_heads(self):
        cfg = gfl()  # says nothing of a sigmoid
        heads = [MODELS.build(cfg).bbox_head for _ in range(2)]
        s = outputs('gfl')
        with pytest.raises(ConfigError, match='the head ends in a softmax'):
            LDLoss()(s, s, context('gfl', [], heads=heads))

    def test_other_bins_or_priors(self):
        s = outputs('rotated')
        cfg = cfg_of('rotated')
        cfg.bbox_head.bin_range = (-1.0, 1.0)
        heads = head_of('rotated'), MODELS.build(cfg).bbox_head
        with pytest.raises(ConfigError, match='9 bins from -2 to 2, teacher 9 bins'):
            LDLoss()(s, s, context('rotated', [], heads=heads))
        other = head_of('gfl')
        other.prior_generator.strides = [(4, 4)] * 4
        s = outputs('gfl')
        with pytest.raises(ConfigError, match='prior_generator differs'):
            LDLoss()(s, s, context('gfl', [], heads=(head_of('gfl'), other)))

    def test_other_shapes_or_levels(self):
        s, batch = outputs('gfl'), context('gfl', [])
        with pytest.raises(ShapeError, match='must have the same shape'):
            LDLoss()(s, (s[0], tuple(x[:, 1:] for x in s[1])), batch)
        fewer = tuple(maps[:3] for maps in s)
        with pytest.raises(ShapeError, match='all levels of it'):
            LDLoss()(fewer, fewer, batch)

    def test_no_assignment(self):
        s, batch = outputs('gfl'), context('gfl', [])
        batch._read_assigned = None
        with pytest.raises(RecordError, match='none were recorded'):
            LDLoss()(s, s, batch)


def test_rotated_boxes_in_their_structure():
    """Box structures and tensors give the same region."""
    s = outputs('rotated')
    batch = context('rotated', [])
    expected = LDLoss().region(s, batch)
    wrapped = context('rotated', [])
    for sample in wrapped.data_samples:
        boxes = sample.gt_instances.bboxes
        sample.gt_instances.bboxes = RotatedBoxes(boxes)
    wrapped = BatchContext(
        wrapped.data_samples, (64, 64), wrapped._read_assigned, wrapped._heads
    )
    assert torch.equal(LDLoss().region(s, wrapped), expected)
    assert expected.any()
