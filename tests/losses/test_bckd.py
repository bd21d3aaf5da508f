"""BCKD: its two sums in NumPy, prior by prior."""

import numpy as np
import pytest
import torch

from aerialkd.errors import ConfigError
from aerialkd.losses import BCKDLoss
from tests.contexts import SIZES, K, L, by_prior, outputs, with_positives

POSITIVE = [(0, 3), (1, L - 1)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def giou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    overlap = np.clip(high - low, 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap
    around = (np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])).prod()
    return overlap / union - (around - union) / around


def class_term(s, t, gamma=1.0):
    p, q = sigmoid(s), sigmoid(t)
    bce = -(q * np.log(p) + (1 - q) * np.log(1 - p))
    return (bce * np.abs(q - p) ** gamma).sum(-1)


class BoxHead:
    """A head whose outputs are the boxes themselves, (N, 4, 1, L)."""

    cls_out_channels = K
    use_sigmoid_cls = True

    class prior_generator:
        strides = ((8, 8),)

        @staticmethod
        def grid_priors(sizes, device):
            return [torch.zeros(h * w, 4) for h, w in sizes]

    @staticmethod
    def decode(preds, priors, strides):
        return preds


def boxes_as_outputs(logits, boxes):
    """(N, L, K) and (N, L, 4) as maps of one level of one row."""
    return tuple((x.permute(0, 2, 1)[:, :, None],) for x in (logits, boxes))


def random_boxes(n, seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 40, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(4, 30, (n, 2))], 1)
    return torch.tensor(boxes, dtype=torch.float32)


def case(priors=5):
    """Two images of some priors, one of which takes no part in the class loss."""
    head = BoxHead()
    batch = with_positives('horizontal', [], avg_factor=4, heads=(head, head))
    weights = torch.ones(2, priors)
    weights[1, 2] = 0
    batch.assigned.label_weights.set_(weights)
    logits = 2 * torch.randn(2, 2, priors, K)
    boxes = [
        torch.stack([random_boxes(priors, seed), random_boxes(priors, seed + 1)])
        for seed in (0, 5)
    ]
    return batch, weights, logits, boxes


@pytest.mark.parametrize('gamma', [1.0, 2.0])
def test_matches_the_formula(gamma):
    batch, weights, (s, t), (box_s, box_t) = case()
    expected = 0.0
    for image in range(2):
        for prior in range(5):
            where = image, prior
            one, other = s[where].numpy(), t[where].numpy()
            classes = class_term(one, other, gamma) * weights[where].item()
            disparity = np.abs(sigmoid(one) - sigmoid(other)).max()
            apart = 1 - giou(box_s[where].numpy(), box_t[where].numpy())
            expected += classes + 4 * disparity * apart
    preds = boxes_as_outputs(s, box_s), boxes_as_outputs(t, box_t)
    loss = BCKDLoss(gamma=gamma)
    assert loss(*preds, batch).item() == pytest.approx(expected / 4, rel=1e-4)
    classes_only = BCKDLoss(gamma, bbox_weight=0.0, loss_weight=2.0)
    boxes_only = BCKDLoss(gamma, cls_weight=0.0, loss_weight=2.0)
    parts = classes_only(*preds, batch) + boxes_only(*preds, batch)
    assert parts.item() == pytest.approx(2 * expected / 4, rel=1e-4)
    shown = loss.spatial_maps(*preds, batch)
    total = sum(x.sum() for maps in shown.values() for x in maps) / 4
    assert total.item() == pytest.approx(expected / 4, rel=1e-4)


def test_worked_by_hand():
    """One class differs, 1/2 against 3/4; boxes that share half of the larger one."""
    head = BoxHead()
    batch = with_positives('horizontal', [], avg_factor=1, heads=(head, head))
    batch.assigned.label_weights.set_(torch.ones(1, 1))
    s, t = torch.zeros(2, 1, 1, K)
    t[..., 0] = np.log(3)
    box_s, box_t = torch.tensor([[[[0.0, 0, 2, 2]]], [[[0.0, 0, 2, 1]]]])
    found = BCKDLoss()(boxes_as_outputs(s, box_s), boxes_as_outputs(t, box_t), batch)
    # ln 2 * 1/4, and 4 times disparity 1/4 times 1 - (1/2 - 0).
    assert found.item() == pytest.approx(np.log(2) / 4 + 4 / 4 / 2, rel=1e-5)


@pytest.mark.parametrize('kind', ['horizontal', 'rotated'])
def test_all_priors_of_a_real_head(kind):
    """Also of levels without a positive."""
    s, t = outputs(kind), outputs(kind)
    s = tuple(tuple(x.requires_grad_() for x in maps) for maps in s)
    batch = with_positives(kind, POSITIVE[:1])
    value = BCKDLoss()(s, t, batch)
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(x.grad).all() for maps in s for x in maps)
    assert all(x.grad.any() for maps in s for x in maps)
    without = BCKDLoss()(s, t, with_positives(kind, []))
    assert without.item() == pytest.approx(value.item(), rel=1e-5)  # both over 1
    classes = BCKDLoss(bbox_weight=0.0)(s, t, batch).item()
    logits = [by_prior(x[0], K).detach().numpy() for x in (s, t)]
    assert classes == pytest.approx(class_term(*logits).sum(), rel=1e-4)


def test_disparity_is_a_constant_for_the_gradient():
    batch, _, (s, t), (box_s, box_t) = case()
    s.requires_grad_()
    loss = BCKDLoss(cls_weight=0.0)
    loss(boxes_as_outputs(s, box_s), boxes_as_outputs(t, box_t), batch).backward()
    assert s.grad is None or not s.grad.any()


@pytest.mark.parametrize('kind', ['horizontal', 'rotated'])
def test_zero_where_both_agree_and_nothing_for_the_teacher(kind):
    s, t = outputs(kind), outputs(kind)
    assert BCKDLoss()(s, s, with_positives(kind, POSITIVE)).item() == pytest.approx(
        0, abs=1e-4
    )
    t = tuple(tuple(x.requires_grad_() for x in maps) for maps in t)
    s = tuple(tuple(x.requires_grad_() for x in maps) for maps in s)
    BCKDLoss()(s, t, with_positives(kind, POSITIVE)).backward()
    assert all(x.grad is None for maps in t for x in maps)


def test_priors_of_padding_do_not_count():
    s, t = outputs('horizontal'), outputs('horizontal')
    half = with_positives('horizontal', POSITIVE, image=(64, 32))
    found = BCKDLoss(bbox_weight=0.0)(s, t, half).item()
    total = 0.0
    for one, other, (_, width) in zip(s[0], t[0], SIZES, strict=True):
        inside = slice(0, max(width // 2, 1))
        logits = [
            x[..., inside].unflatten(1, (-1, K)).movedim(2, -1) for x in (one, other)
        ]
        total += class_term(*(x.numpy() for x in logits)).sum()
    assert found == pytest.approx(total / 2, rel=1e-4)


def test_softmax_heads_are_refused():
    batch = with_positives('horizontal', POSITIVE)
    batch._heads[0].use_sigmoid_cls = False
    s = outputs('horizontal')
    with pytest.raises(ConfigError, match='BCKDLoss treats each class as a binary'):
        BCKDLoss()(s, s, batch)
