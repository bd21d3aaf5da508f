"""WSLD, DKD and NKD on dense heads: which priors, which labels, what divides them."""

import copy

import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.errors import ConfigError, RecordError, ShapeError
from aerialkd.losses import DKDLoss, NKDLoss, WSLDLoss
from aerialkd.losses.functional import (
    decoupled_kd,
    normalized_kd,
    weighted_soft_label,
)
from tests.builders import retinanet
from tests.contexts import SIZES, A, K, L, by_prior, outputs, with_positives

POSITIVE = [(0, 3), (0, 200), (1, L - 1)]
BOTH = pytest.mark.parametrize('kind', ['horizontal', 'rotated'])
LOSSES = pytest.mark.parametrize(
    ('loss', 'function', 'options', 'weight'),
    [
        (WSLDLoss, weighted_soft_label, dict(tau=2.0), 2.5),
        (DKDLoss, decoupled_kd, dict(alpha=1.0, beta=0.25, tau=1.0), 1.0),
        (NKDLoss, normalized_kd, dict(gamma=1.5, tau=1.0), 1.0),
    ],
)


@BOTH
@LOSSES
class TestAll:
    def test_mean_over_the_positives(self, loss, function, options, weight, kind):
        (s, _), (t, _) = outputs(kind), outputs(kind)
        logits = [
            torch.stack([by_prior(x, K)[where] for where in POSITIVE]) for x in (s, t)
        ]
        ones = torch.ones(3, dtype=torch.long)  # with_positives() assigns class 1
        expected = weight * function(*logits, ones, **options).item()
        # The task loss's normaliser may count otherwise: YOLOv8's sums scores.
        batch = with_positives(kind, POSITIVE, avg_factor=7)
        found = loss()((s, None), (t, None), batch).item()
        assert found == pytest.approx(expected, rel=1e-5)
        other = {name: 2 * value for name, value in options.items()}
        expected = 3 * function(*logits, ones, **other).item()
        found = loss(**other, loss_weight=3.0)((s, None), (t, None), batch)
        assert found.item() == pytest.approx(expected, rel=1e-5)

    def test_gradient_at_the_positives_alone(
        self, loss, function, options, weight, kind
    ):
        s, t = ([x.requires_grad_() for x in outputs(kind)[0]] for _ in 'ST')
        loss()((s, None), (t, None), with_positives(kind, POSITIVE)).backward()
        touched = by_prior([x.grad for x in s], K).any(-1)
        assert touched.nonzero().tolist() == [list(where) for where in POSITIVE]
        assert all(x.grad is None for x in t)

    def test_without_positives_it_is_zero_and_attached(
        self, loss, function, options, weight, kind
    ):
        s = [x.requires_grad_() for x in outputs(kind)[0]]
        value = loss()((s, None), outputs(kind), with_positives(kind, []))
        value.backward()
        assert value.item() == 0
        assert all(x.grad is not None and not x.grad.any() for x in s)

    def test_shows_where_it_compares(self, loss, function, options, weight, kind):
        s, t = outputs(kind), outputs(kind)
        batch = with_positives(kind, POSITIVE)
        counts = loss().masks(t, batch)['positive priors']
        assert sum(x.sum() for x in counts) == 3
        maps = loss().spatial_maps(s, t, batch)['loss']
        total = loss().loss_weight * sum(x.sum() for x in maps) / 3
        assert total.item() == pytest.approx(loss()(s, t, batch).item(), rel=1e-5)


@LOSSES
def test_mistakes_are_named(loss, function, options, weight):
    with pytest.raises(ConfigError, match=rf'{loss.__name__}\.tau: got 0'):
        loss(tau=0)
    s = outputs('horizontal')
    with pytest.raises(ShapeError, match='must have the same shape'):
        loss()(s, tuple(x[:3] for x in s), with_positives('horizontal', POSITIVE))
    head = MODELS.build(retinanet(num_classes=1)).bbox_head
    one = (tuple(torch.randn(2, A, *size) for size in SIZES), None)
    heads = (head, copy.deepcopy(head))
    with pytest.raises(ConfigError, match=f'{loss.__name__}: got one class'):
        loss()(one, one, with_positives('horizontal', POSITIVE, heads=heads))
    nobody = with_positives('horizontal', POSITIVE)
    nobody._read_assigned = None
    with pytest.raises(RecordError, match='none were recorded'):
        loss()(s, s, nobody)
