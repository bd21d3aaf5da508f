"""FGD: its five sums, spelled out in NumPy and with loops over boxes and cells."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses import FGDLoss
from tests.contexts import NONE, many_boxes
from tests.contexts import with_boxes as context

ONLY = dict(alpha_fgd=0.0, beta_fgd=0.0, gamma_fgd=0.0, lambda_fgd=0.0)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def attention(feat, temp):
    """Of one image (C, H, W): over the cells (H, W) and over the channels (C,)."""
    c, h, w = feat.shape
    spatial = h * w * softmax(np.abs(feat).mean(0).ravel() / temp)
    return spatial.reshape(h, w), c * softmax(np.abs(feat).mean((1, 2)) / temp)


def drawn_masks(boxes, size, image):
    """Horizontal boxes as the official code draws them, one by one."""
    (h, w), (rows, columns) = size, image
    fore = np.zeros(size)
    for x1, y1, x2, y2 in boxes:
        x1, x2 = int(np.floor(x1 / columns * w)), int(np.ceil(x2 / columns * w))
        y1, y2 = int(np.floor(y1 / rows * h)), int(np.ceil(y2 / rows * h))
        x2, y2 = min(x2, w - 1), min(y2, h - 1)
        area = (x2 - x1 + 1) * (y2 - y1 + 1)
        part = fore[y1 : y2 + 1, x1 : x2 + 1]
        fore[y1 : y2 + 1, x1 : x2 + 1] = np.maximum(part, 1 / area)
    back = (fore == 0).astype(float)
    return fore, back / max(back.sum(), 1)


def oracle(s, t, boxes, image, temp, alpha, beta, gamma, lamda):
    total = 0.0
    for s_i, t_i, boxes_i in zip(s, t, boxes, strict=True):
        spatial_s, channel_s = attention(s_i, temp)
        spatial_t, channel_t = attention(t_i, temp)
        fore, back = drawn_masks(boxes_i, s_i.shape[1:], image)
        squared = (s_i - t_i) ** 2 * spatial_t * channel_t[:, None, None]
        total += alpha * (squared * fore).sum() + beta * (squared * back).sum()
        apart = np.abs(channel_s - channel_t).sum()
        total += gamma * (apart + np.abs(spatial_s - spatial_t).sum())
        total += lamda * ((s_i - t_i) ** 2).sum()  # before the blocks learn
    return total / len(s)


def maps(*sizes, images=2, channels=4):
    generator = torch.Generator().manual_seed(3)
    return [
        [torch.randn(images, channels, *size, generator=generator) for size in sizes]
        for _ in 'ST'
    ]


BOXES = ([[2.0, 3, 30, 20], [10.0, 8, 60, 60], [55.0, 2, 63, 9]], NONE)
WEIGHTS = dict(alpha_fgd=0.7, beta_fgd=0.3, gamma_fgd=0.2, lambda_fgd=0.1)


@pytest.mark.parametrize('temp', [0.5, 0.8])
def test_matches_the_formula(temp):
    s, t = maps((8, 8), (4, 4))
    loss = FGDLoss(4, 4, temp, **WEIGHTS, num_levels=2)
    expected = sum(
        oracle(a.numpy(), b.numpy(), BOXES, (64, 64), temp, *WEIGHTS.values())
        for a, b in zip(s, t, strict=True)
    )
    batch = context(*BOXES, input_shape=(64, 64))
    assert loss(s, t, batch).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('part', list(WEIGHTS))
def test_each_weight_is_of_its_own_part(part):
    (s,), (t,) = maps((8, 8))
    weights = {**ONLY, part: 1.0}
    expected = oracle(s.numpy(), t.numpy(), BOXES, (64, 64), 0.5, *weights.values())
    found = FGDLoss(4, 4, **weights)(s, t, context(*BOXES, input_shape=(64, 64)))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_defaults_are_the_papers():
    loss = FGDLoss(4, 4)
    found = [loss.temp, loss.alpha_fgd, loss.beta_fgd, loss.gamma_fgd, loss.lambda_fgd]
    assert found == [0.5, 1e-3, 5e-4, 5e-4, 5e-6]


def test_masks_worked_by_hand():
    # Cells of 8 px: box 1 covers columns and rows 0 to 2 (ceil of 16 / 8), 9 cells;
    # box 2 covers column 2, row 1 to 2, and weighs more where both lie.
    boxes = [[0.0, 0, 16, 16], [17.0, 9, 23, 15]]
    loss, batch = FGDLoss(4, 4), context(boxes, input_shape=(32, 32))
    fore, back = loss.scaled_masks((4, 4), batch)
    assert fore[0].tolist() == pytest.approx(
        np.array(
            [
                [1 / 9, 1 / 9, 1 / 9, 0],
                [1 / 9, 1 / 9, 1 / 4, 1 / 4],
                [1 / 9, 1 / 9, 1 / 4, 1 / 4],
                [0, 0, 0, 0],
            ]
        )
    )
    assert back[0].sum().item() == pytest.approx(1)
    assert (back[0] > 0).sum() == 5


def test_image_without_boxes_is_background_and_one_full_of_them_has_none():
    full = [[0.0, 0, 32, 32]]
    fore, back = FGDLoss(4, 4).scaled_masks((4, 4), context(NONE, full))
    assert not fore[0].any()
    assert back[0].eq(1 / 16).all()
    assert fore[1].eq(1 / 16).all()
    assert not back[1].any()


def test_rotated_boxes_are_drawn_as_they_lie():
    """A thin box along the diagonal: the cells that it covers, not those around it."""
    box = torch.tensor([[32.0, 32, 80, 4, np.pi / 4]])
    fore, _ = FGDLoss(4, 4).scaled_masks((8, 8), context(box, input_shape=(64, 64)))
    assert (fore[0] > 0).equal(torch.eye(8) > 0)
    assert fore[0, 0, 0].item() == pytest.approx(1 / 8)
    rotated = FGDLoss(4, 4)
    (s,), (t,) = maps((8, 8), images=1)
    assert torch.isfinite(rotated(s, t, context(box, input_shape=(64, 64))))


def test_boxes_are_against_the_padded_size():
    """As tall again with padding: the same box lies on half as many rows."""
    box = [[0.0, 0, 16, 16]]
    batch = context(box, input_shape=(64, 32), img_shapes=[(32, 32)])
    fore, _ = FGDLoss(4, 4).scaled_masks((8, 4), batch)
    assert (fore[0] > 0).sum() == 9
    assert fore[0, :3, :3].eq(1 / 9).all()


def test_gradient():
    loss = FGDLoss(2, 2, **WEIGHTS).double()
    s, t = torch.randn(2, 1, 2, 3, 3, dtype=torch.float64)
    batch = context([[0.0, 0, 12, 12]], input_shape=(24, 24))
    assert gradcheck(lambda s: loss(s, t, batch), (s.requires_grad_(),))


def test_relations_come_in_as_the_blocks_learn():
    loss = FGDLoss(4, 4, **{**ONLY, 'lambda_fgd': 1.0})
    (s,), (t,) = maps((4, 4))
    batch = context(NONE, NONE)
    with torch.no_grad():
        torch.nn.init.normal_(loss.student_context[0].channel_add_conv[-1].weight)
        own = loss.student_context[0](s) - loss.teacher_context[0](t)
    expected = own.square().sum().item() / 2
    assert loss(s, t, batch).item() == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx((s - t).square().sum().item() / 2, rel=1e-2)


def test_learns_everything_but_the_teacher():
    loss = FGDLoss([2, 4], [4, 4])
    s = [torch.randn(1, 2, 4, 4), torch.randn(1, 4, 2, 2)]
    t = [torch.randn(1, 4, n, n, requires_grad=True) for n in (4, 2)]
    loss(s, t, context(NONE)).backward()
    assert all(p.grad is not None for p in loss.parameters())
    assert all(x.grad is None for x in t)


def test_zero_where_both_agree():
    (_,), (t,) = maps((4, 4))
    assert FGDLoss(4, 4, **WEIGHTS)(t, t, context(*BOXES)).item() == 0


def test_single_cells_constant_maps_and_half_precision():
    loss = FGDLoss(4, 4)
    batch = context(many_boxes(5), NONE, input_shape=(64, 64))
    for size in ((1, 1), (8, 8)):
        s = torch.zeros(2, 4, *size, requires_grad=True)
        value = loss(s, torch.ones(2, 4, *size), batch)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(s.grad).all()
    (s,), (t,) = maps((8, 8))
    with torch.autocast('cpu', torch.bfloat16):
        half = loss(s.bfloat16(), t.bfloat16(), batch)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(s, t, batch).item(), rel=2e-2)


def test_average_over_the_images():
    (s,), (t,) = maps((8, 8))
    loss = FGDLoss(4, 4, **WEIGHTS)
    singles = [
        loss(s[[i]], t[[i]], context(BOXES[i], input_shape=(64, 64))).item()
        for i in (0, 1)
    ]
    both = loss(s, t, context(*BOXES, input_shape=(64, 64))).item()
    assert both == pytest.approx(np.mean(singles), rel=1e-5)


def test_shows_its_masks_and_names_mistakes():
    (s,), (t,) = maps((8, 8))
    shown = FGDLoss(4, 4).masks(t, context(*BOXES))
    assert list(shown) == ['attention A_s', 'foreground M', 'background M']
    assert all(levels[0].shape == (2, 8, 8) for levels in shown.values())
    with pytest.raises(ConfigError, match=r'FGDLoss\.temp: got 0'):
        FGDLoss(4, 4, temp=0)
    with pytest.raises(ShapeError, match='built for 1 levels, got 2'):
        FGDLoss(4, 4)([s, s], [t, t], context(*BOXES))
    with pytest.raises(ShapeError, match='FGDLoss: student'):
        FGDLoss(4, 4)(s, t[:, :3], context(*BOXES))
