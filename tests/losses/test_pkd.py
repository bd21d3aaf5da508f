import pytest
import torch
import torch.nn.functional as F

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses import DistillLoss, PKDLoss
from aerialkd.losses.functional import pearson_loss


def pyramid(*sizes, channels=3):
    return tuple(torch.randn(2, channels, *size) for size in sizes)


def test_levels_are_summed_and_weighted():
    s, t = pyramid((8, 8), (4, 4)), pyramid((8, 8), (4, 4))
    expected = 6 * (pearson_loss(s[0], t[0]) + pearson_loss(s[1], t[1]))
    assert PKDLoss(loss_weight=6)(s, t).item() == pytest.approx(expected.item())


def test_a_single_map_is_one_level():
    (s,), (t,) = pyramid((5, 6)), pyramid((5, 6))
    assert PKDLoss()(s, t).item() == pytest.approx(10 * pearson_loss(s, t).item())


@pytest.mark.parametrize('size', [(8, 5), (6, 8), (4, 4)])
def test_resizes_when_one_side_differs(size):
    (s,), (t,) = pyramid(size), pyramid((8, 8))
    resized = F.interpolate(s, (8, 8), mode='bilinear')
    assert PKDLoss(1.0)(s, t).item() == pytest.approx(pearson_loss(resized, t).item())
    small = F.interpolate(t, size, mode='bilinear')
    loss = PKDLoss(1.0, resize_stu=False)(s, t)
    assert loss.item() == pytest.approx(pearson_loss(s, small).item())


@pytest.mark.parametrize('resize_stu', [True, False])
def test_mean_over_the_cells_is_the_loss_of_the_level(resize_stu):
    s, t = pyramid((8, 6), (4, 3)), pyramid((8, 6), (8, 3))
    s = tuple(level.requires_grad_() for level in s)
    loss = PKDLoss(6.0, resize_stu)
    ((_, maps),) = loss.spatial_maps(s, t).items()
    for values, student, teacher in zip(maps, s, t, strict=True):
        assert values.mean().item() * 6 == pytest.approx(loss(student, teacher).item())
        assert not values.requires_grad
    assert [m.shape for m in maps] == [(2, 8, 6), (2, 8 if resize_stu else 4, 3)]


def test_a_cell_has_its_own_share():
    s = torch.randn(1, 3, 4, 4)
    t = s.clone()
    t[..., 1, 2] += 5
    ((values,),) = PKDLoss().spatial_maps(s, t).values()
    assert values[0].argmax() == 1 * 4 + 2
    assert values[0].sum() - values[0, 1, 2] < values[0, 1, 2]
    with pytest.raises(ShapeError, match='must have the same shape'):
        PKDLoss().spatial_maps(s, t[:, :2])


def test_losses_show_nothing_by_default():
    assert DistillLoss().spatial_maps(torch.zeros(1, 1, 2, 2), None) == {}


def test_one_pixel_level_is_finite():
    s = tuple(level[:1].requires_grad_() for level in pyramid((4, 4), (1, 1)))
    loss = PKDLoss()(s, tuple(level[:1] for level in pyramid((4, 4), (1, 1))))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(level.grad).all() for level in s)


def test_autocast_agrees_with_full_precision():
    s, t = pyramid((16, 16)), pyramid((16, 16))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = PKDLoss()(tuple(x.bfloat16() for x in s), tuple(x.bfloat16() for x in t))
    assert loss.item() == pytest.approx(PKDLoss()(s, t).item(), rel=1e-2)


def test_mistakes_are_named():
    with pytest.raises(ShapeError, match='2 levels, the teacher 1'):
        PKDLoss()(pyramid((4, 4), (2, 2)), pyramid((4, 4)))
    with pytest.raises(ConfigError, match=r'got -1, .* of at least 0'):
        PKDLoss(loss_weight=-1)
