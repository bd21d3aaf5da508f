import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses.functional import efficient_iou_loss, soft_smooth_l1


def oracle(a, b):
    """One pair of boxes, from the definition."""
    aw, ah, bw, bh = a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1]
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(
        0, min(a[3], b[3]) - max(a[1], b[1])
    )
    iou = inter / (aw * ah + bw * bh - inter)
    wc, hc = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    dx, dy = (a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2
    centre = (dx**2 + dy**2) / (wc**2 + hc**2)
    return 1 - iou + centre + (aw - bw) ** 2 / wc**2 + (ah - bh) ** 2 / hc**2


def boxes(num):
    low = 10 * torch.rand(num, 2, dtype=torch.float64)
    return torch.cat([low, low + 0.5 + 8 * torch.rand(num, 2, dtype=torch.float64)], 1)


@pytest.mark.parametrize(
    ('s', 't', 'expected'),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 0),
        # IoU 1/2; centres 1/2 apart in a box of 2 x 2: 1/32; heights: (1/2)^2
        ((0, 0, 2, 2), (0, 0, 2, 1), 1 / 2 + 1 / 32 + 1 / 4),
        # same size, half shifted: IoU 1/3, centres 1 of (3, 2)
        ((0, 0, 2, 2), (1, 0, 3, 2), 2 / 3 + 1 / 13),
        # disjoint: IoU 0, centres 3 apart in (4, 1)
        ((0, 0, 1, 1), (3, 0, 4, 1), 1 + 9 / 17),
        # disjoint with other sides: centres (3.5, 0) in (5, 1), widths 1 and 2
        ((0, 0, 1, 1), (3, 0, 5, 1), 1 + 3.5**2 / 26 + 1 / 25),
    ],
)
def test_worked_examples(s, t, expected):
    loss = efficient_iou_loss(torch.tensor([s]).double(), torch.tensor([t]).double())
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_matches_the_definition():
    s, t = boxes(50), boxes(50)
    expected = [oracle(a, b) for a, b in zip(s.tolist(), t.tolist(), strict=True)]
    np.testing.assert_allclose(efficient_iou_loss(s, t), expected, atol=1e-12)


def test_small_units_change_nothing():
    s, t = boxes(20), boxes(20)
    scaled = efficient_iou_loss((s / 1e4).float(), (t / 1e4).float())
    np.testing.assert_allclose(scaled, efficient_iou_loss(s, t), atol=1e-4)


def test_gradient():
    s, t = boxes(6).requires_grad_(), boxes(6)
    assert gradcheck(lambda s: efficient_iou_loss(s, t), (s,))


def test_boxes_without_area():
    point, other = [3.0, 3, 3, 3], [5.0, 4, 5, 4]
    s = torch.tensor([point, point, point, [0, 0, 1, 1]], requires_grad=True)
    loss = efficient_iou_loss(s, torch.tensor([point, other, [2.0, 2, 4, 4], point]))
    loss.sum().backward()
    assert loss[0] == 0  # identical
    assert loss[1] == 2  # IoU 0, centres as far apart as the box around both is long
    assert loss[2] == 1 + 2  # centred in a box: IoU 0, both sides differ by the whole
    assert loss[3] > 1
    assert torch.isfinite(s.grad).all()


def test_teacher_gets_no_gradient():
    s, t = boxes(3).requires_grad_(), boxes(3).requires_grad_()
    efficient_iou_loss(s, t).sum().backward()
    assert s.grad.abs().sum() > 0
    assert t.grad is None


def test_half_precision_and_no_boxes():
    s, t = boxes(30).float() * 20, boxes(30).float() * 20
    half = efficient_iou_loss(s.half(), t.half())
    np.testing.assert_allclose(half, efficient_iou_loss(s, t), atol=1e-2)
    assert efficient_iou_loss(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_rotated_boxes_are_refused():
    with pytest.raises(ShapeError, match=r'got \(2, 5\), expected \(n, 4\)'):
        efficient_iou_loss(torch.zeros(2, 5), torch.zeros(2, 5))


class TestSoftSmoothL1:
    def test_worked_example(self):
        s, t = torch.zeros(1, 4), torch.tensor([[0.5, -2.0, 10.0, -30.0]])
        # tau 10: quadratic up to 10, then 10**2 * (3 - 1/2).
        softened, printed = soft_smooth_l1(s, t, 10.0), soft_smooth_l1(s, t, None)
        assert softened[0].tolist() == pytest.approx([0.125, 2.0, 50.0, 250.0])
        # As printed: quadratic up to 1.
        assert printed[0].tolist() == pytest.approx([0.125, 1.5, 9.5, 29.5])

    @pytest.mark.parametrize('tau', [None, 1.0, 10.0])
    def test_matches_the_formula(self, tau):
        s, t = (20 * torch.randn(50, 5, dtype=torch.float64) for _ in ['s', 't'])
        scale = tau or 1.0
        x = np.abs(t.numpy() - s.numpy()) / scale
        expected = scale**2 * np.where(x <= 1, x**2 / 2, x - 0.5)
        np.testing.assert_allclose(soft_smooth_l1(s, t, tau), expected, rtol=1e-12)

    def test_gradient_is_the_difference_up_to_tau(self):
        s = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        t = torch.tensor([[4.0, -4.0, 40.0]], dtype=torch.float64)
        soft_smooth_l1(s, t, 10.0).sum().backward()
        assert s.grad.tolist() == [[-4.0, 4.0, -10.0]]
        assert gradcheck(lambda s: soft_smooth_l1(s, t, 3.0), (s,))

    def test_zero_at_identity_none_for_the_teacher_and_nothing(self):
        s, t = (torch.randn(3, 5, requires_grad=True) for _ in ['s', 't'])
        assert soft_smooth_l1(s, s.clone()).abs().max() == 0
        soft_smooth_l1(s, t).sum().backward()
        assert t.grad is None
        assert soft_smooth_l1(torch.zeros(0, 5), torch.zeros(0, 5)).shape == (0, 5)

    def test_half_precision_is_raised(self):
        # tau**2 * x would exceed what half precision holds.
        loss = soft_smooth_l1(torch.zeros(1, 1).half(), torch.full((1, 1), 9e3).half())
        assert loss.item() == pytest.approx(100 * (9e3 / 10 - 0.5), rel=1e-3)

    def test_refuses_mistakes(self):
        with pytest.raises(ShapeError, match='must have the same shape'):
            soft_smooth_l1(torch.zeros(2, 4), torch.zeros(2, 5))
        with pytest.raises(ConfigError, match=r'tau: got -1\.0'):
            soft_smooth_l1(torch.zeros(2, 4), torch.zeros(2, 4), -1.0)
