import math

import numpy as np
import pytest
import torch

from aerialkd.detectors.yolov8 import CompleteIoULoss, complete_iou


def oracle(a, b):
    """CIoU of two boxes in plain Python."""
    wa, ha, wb, hb = a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1]
    w = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    iou = w * h / (wa * ha + wb * hb - w * h)
    rho = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    wc, hc = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    v = 4 / math.pi**2 * (math.atan(wb / hb) - math.atan(wa / ha)) ** 2
    return iou - rho / (wc**2 + hc**2) - v * v / (1 - iou + v)


def boxes(n, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 20, (n, 2))
    return torch.tensor(
        np.concatenate([corner, corner + rng.uniform(2, 30, (n, 2))], 1)
    )


def test_worked_example():
    # Halves of a 4 x 2 box: IoU 1/3, centres 2 apart, diagonal of 6 x 2 squared is 40.
    first, second = torch.tensor([[0.0, 0, 4, 2]]), torch.tensor([[2.0, 0, 6, 2]])
    assert float(complete_iou(first, second)) == pytest.approx(1 / 3 - 4 / 40)


def test_against_the_formula():
    first, second = boxes(50), boxes(50, seed=1)
    expected = [
        oracle(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    assert complete_iou(first, second).tolist() == pytest.approx(expected, abs=1e-6)


def test_equal_boxes_are_the_maximum_and_finite():
    """mmdet's loss is NaN here."""
    box = boxes(5).float().requires_grad_()
    loss = CompleteIoULoss()(box, box.detach())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(box.grad).all()


def test_gradient():
    first, second = boxes(4).requires_grad_(), boxes(4, seed=1)
    # alpha is a constant for the gradient: take boxes whose aspect ratios agree.
    second[:, 2:] = second[:, :2] + (first[:, 2:] - first[:, :2]).detach() * 1.5
    assert torch.autograd.gradcheck(lambda x: complete_iou(x, second).sum(), first)


def test_weights_and_normaliser():
    first, second = boxes(3), boxes(3, seed=1)
    weight = torch.tensor([1.0, 0.0, 0.5])
    loss = CompleteIoULoss(loss_weight=2.0)(first, second, weight, avg_factor=4.0)
    each = 1 - complete_iou(first, second)
    assert float(loss) == pytest.approx(2 * float((each * weight).sum()) / 4)
    assert float(CompleteIoULoss()(first[:0], second[:0], weight[:0], 1.0)) == 0
