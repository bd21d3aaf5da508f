"""KD-RNet: which priors are compared, what divides them, which heads are served."""

import copy

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmrotate.structures.bbox import RotatedBoxes

from aerialkd.errors import ConfigError, RecordError, ShapeError
from aerialkd.losses import SoftClassLoss, SoftRegressionLoss
from tests.builders import batch as raw_batch
from tests.builders import distill, fcos, gfl, retinanet, rotated_retinanet
from tests.contexts import DIMENSIONS, SIZES, A, K, L, by_prior, head_of, outputs
from tests.contexts import with_positives as context

HEADS = pytest.mark.parametrize('kind', DIMENSIONS)


POSITIVE = [(0, 3), (0, 200), (1, L - 1)]


@HEADS
def test_class_loss_is_the_mean_over_positives(kind):
    (s, _), (t, _) = outputs(kind), outputs(kind)
    value = SoftClassLoss()((s, None), (t, None), context(kind, POSITIVE))
    p, q = (
        np.stack([by_prior(x, K)[where].numpy() for where in POSITIVE]) for x in (s, t)
    )
    p, q = (np.exp(x / 8) / np.exp(x / 8).sum(1, keepdims=True) for x in (p, q))
    expected = 64 * (p * np.log(p / q)).sum() / 3
    assert value.item() == pytest.approx(expected, rel=1e-4)
    usual = SoftClassLoss(direction='teacher_student', loss_weight=2.0)
    expected = 2 * 64 * (q * np.log(q / p)).sum() / 3
    found = usual((s, None), (t, None), context(kind, POSITIVE)).item()
    assert found == pytest.approx(expected, rel=1e-4)


@HEADS
def test_regression_loss_is_the_mean_over_positives(kind):
    s, t = outputs(kind), outputs(kind)
    columns = DIMENSIONS[kind]
    one, other = (
        torch.stack([by_prior(x[1], columns)[where] for where in POSITIVE])
        for x in (s, t)
    )
    apart = (one - other).abs()
    assert (apart > 1).any()
    assert (apart < 10).all()
    value = SoftRegressionLoss()(s, t, context(kind, POSITIVE))
    assert value.item() == pytest.approx((apart**2 / 2).sum().item() / 3, rel=1e-5)
    printed = SoftRegressionLoss(tau=None)(s, t, context(kind, POSITIVE))
    expected = torch.where(apart <= 1, apart**2 / 2, apart - 0.5).sum().item() / 3
    assert printed.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('loss', [SoftClassLoss, SoftRegressionLoss])
@HEADS
class TestBoth:
    def test_all_priors_but_those_of_padding(self, loss, kind):
        s, t = outputs(kind), outputs(kind)
        every = [(i, p) for i in range(2) for p in range(L)]
        as_positives = loss()(s, t, context(kind, every, avg_factor=7)).item()
        value = loss(positions='all')(s, t, context(kind, [], avg_factor=7)).item()
        assert value == pytest.approx(as_positives, rel=1e-5)
        # The left half of the images: half of the first level's cells and so on, and
        # of the last level its only one.
        half = loss(positions='all')(
            s, t, context(kind, [], avg_factor=7, image=(64, 32))
        )
        numbers = iter(range(L))
        inside = [
            (i, p)
            for h, w in SIZES
            for _ in range(h)
            for x in range(w)
            for p in [next(numbers) for _ in range(A)]
            for i in range(2)
            if x < max(w // 2, 1)
        ]
        assert len(inside) == 2 * A * (32 + 8 + 2 + 1)
        expected = loss()(s, t, context(kind, inside, avg_factor=7)).item()
        assert half.item() == pytest.approx(expected, rel=1e-5)

    def test_without_positives_it_is_zero_and_attached(self, loss, kind):
        s = tuple(tuple(x.requires_grad_() for x in maps) for maps in outputs(kind))
        value = loss()(s, outputs(kind), context(kind, []))
        assert value.item() == 0
        value.backward()
        compared = s[0] if loss is SoftClassLoss else s[1]
        assert all(x.grad is not None and not x.grad.any() for x in compared)

    def test_zero_for_equal_outputs_and_no_gradient_for_the_teacher(self, loss, kind):
        s, t = outputs(kind), outputs(kind)
        assert loss()(s, s, context(kind, POSITIVE)).item() == pytest.approx(
            0, abs=1e-5
        )
        s, t = ([[x.requires_grad_() for x in m] for m in both] for both in (s, t))
        loss()(s, t, context(kind, POSITIVE)).backward()
        assert all(x.grad is None for maps in t for x in maps)
        compared = s[0] if loss is SoftClassLoss else s[1]
        # Gradients at the positives alone.
        touched = by_prior([x.grad for x in compared], compared[0].shape[1] // A)
        assert touched.any(-1).nonzero().tolist() == [list(p) for p in POSITIVE]

    def test_shows_where_it_compares(self, loss, kind):
        s, t, batch = outputs(kind), outputs(kind), context(kind, POSITIVE)
        (name,) = loss().masks(t, batch)
        assert name == 'positive priors'
        counts = loss().masks(t, batch)[name]
        assert [x.shape for x in counts] == [(2, *size) for size in SIZES]
        assert sum(x.sum() for x in counts) == 3
        assert counts[3][1].item() == 1
        maps = loss().spatial_maps(s, t, batch)['loss']
        total = sum(x.sum() for x in maps) / 3
        assert total.item() == pytest.approx(loss()(s, t, batch).item(), rel=1e-5)
        assert loss().spatial_maps(s, t) == {}

    def test_mistakes_are_named(self, loss, kind):
        s = outputs(kind)
        with pytest.raises(ConfigError, match=r"positions: .* one of 'positive'"):
            loss(positions='negative')
        with pytest.raises(ConfigError, match='tau: got 0'):
            loss(tau=0)
        with pytest.raises(ShapeError, match='must have the same shape'):
            loss()(s, tuple(maps[:3] for maps in s), context(kind, POSITIVE))
        other = head_of(kind)
        other.prior_generator.strides = [(4, 4)] * 4
        with pytest.raises(ConfigError, match='prior_generator differs'):
            loss()(s, s, context(kind, POSITIVE, heads=(head_of(kind), other)))
        coder = head_of(kind)
        coder.bbox_coder.stds = (0.1,) * DIMENSIONS[kind]
        with pytest.raises(ConfigError, match='bbox_coder differs'):
            loss()(s, s, context(kind, POSITIVE, heads=(head_of(kind), coder)))
        empty = context(kind, POSITIVE)
        empty._read_assigned = None
        with pytest.raises(RecordError, match='none were recorded'):
            loss()(s, s, empty)


@pytest.mark.parametrize('builder', [gfl, fcos])
def test_distributions_and_points_are_no_deltas(builder):
    head = MODELS.build(builder()).bbox_head.train()
    levels = head([torch.randn(2, 16, *size) for size in SIZES])
    batch = context('horizontal', POSITIVE, heads=(head, copy.deepcopy(head)))
    with pytest.raises(ConfigError, match='expected deltas to anchors'):
        SoftRegressionLoss()(levels, levels, batch)


def test_one_class_is_refused():
    """A loss that is always 0 would pass for a distillation."""
    head = MODELS.build(retinanet(num_classes=1)).bbox_head
    levels = tuple(torch.randn(2, A, *size) for size in SIZES)
    batch = context('horizontal', POSITIVE, heads=(head, copy.deepcopy(head)))
    with pytest.raises(ConfigError, match='got one class, expected at least two'):
        SoftClassLoss()((levels, None), (levels, None), batch)


DISTILLER = dict(
    type='aerialkd.DetectionDistiller',
    recorders=dict(head=dict(type='HeadOutputs')),
    distill_losses=dict(
        soft_class=dict(type='aerialkd.SoftClassLoss'),
        soft_regression=dict(type='aerialkd.SoftRegressionLoss'),
    ),
    loss_forward_mappings=dict(soft_class='head', soft_regression='head'),
)


@HEADS
def test_in_a_step_with_the_students_own_assignment(kind, monkeypatch):
    """The positives and their number are those of the task loss; one assignment."""
    builder = retinanet if kind == 'horizontal' else rotated_retinanet
    model = MODELS.build(
        distill(
            architecture=builder(),
            teacher=builder(width=16) if kind == 'horizontal' else builder(),
            distiller=DISTILLER,
        )
    ).train()
    data = raw_batch()
    if kind == 'rotated':
        for sample in data['data_samples']:
            xyxy = sample.gt_instances.bboxes
            wh = xyxy[:, 2:] - xyxy[:, :2]
            angle = torch.tensor([[0.3], [-1.2], [1.5]])
            sample.gt_instances.bboxes = RotatedBoxes(
                torch.cat([xyxy[:, :2] + wh / 2, wh, angle], 1)
            )
            sample.ignored_instances.bboxes = RotatedBoxes(torch.zeros(0, 5))
    data = model.data_preprocessor(data, True)
    seen, kind_of_head = {}, type(model.student.bbox_head)
    assign = kind_of_head.get_targets

    def once(*args, **kwargs):
        assert 'targets' not in seen, 'a second assignment'
        seen['targets'] = assign(*args, **kwargs)
        return seen['targets']

    monkeypatch.setattr(kind_of_head, 'get_targets', once)
    for model_of, side in ((model.student, 'S'), (model.teacher, 'T')):
        model_of.bbox_head.register_forward_hook(
            lambda _, __, out, side=side: seen.setdefault(side, out)
        )
    losses = model(**data, mode='loss')
    labels = torch.cat([x.view(2, -1) for x in seen['targets'][0]], 1)
    where = (labels < K).nonzero().tolist()
    number = seen['targets'][4]
    assert len(where) == number > 2
    columns = DIMENSIONS[kind]
    s, t = (
        torch.cat(
            [x.permute(0, 2, 3, 1).reshape(2, -1, columns) for x in seen[side][1]],
            1,
        )[labels < K]
        for side in 'ST'
    )
    apart = (s - t).abs() / 10
    total = 100 * torch.where(apart <= 1, apart**2 / 2, apart - 0.5).sum().item()
    found = losses['distill.loss_soft_regression'].item()
    assert found == pytest.approx(total / number, rel=1e-4)
    assert losses['distill.loss_soft_class'] > 0
