"""MGD: what is masked, what is restored, and that the sum stays a sum."""

import pytest
import torch

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses import MGDLoss


def identity(loss):
    """Let its blocks hand positive maps through."""
    for block in loss.generation:
        for conv in (block.mask_conv, block.regenerate_conv):
            torch.nn.init.dirac_(conv.weight)
            torch.nn.init.zeros_(conv.bias)
    return loss


def levels(*sizes, images=2, channels=3):
    return [torch.rand(images, channels, *size) + 1 for size in sizes]


def test_worked_by_hand_without_a_mask():
    """Sum over channels and cells, over the number of images, times alpha."""
    loss = identity(MGDLoss(3, 3, lambda_mgd=0.0, num_levels=2))
    s, t = levels((4, 5), (2, 2)), levels((4, 5), (2, 2))
    by_hand = sum((a - b).square().sum() for a, b in zip(s, t, strict=True)) / 2
    assert loss(s, t).item() == pytest.approx(2e-5 * by_hand.item(), rel=1e-5)
    loss.alpha_mgd, loss.loss_weight = 3.0, 0.5
    assert loss(s, t).item() == pytest.approx(1.5 * by_hand.item(), rel=1e-5)


def test_everything_masked_leaves_the_teacher():
    loss = identity(MGDLoss(3, 3, alpha_mgd=1.0, lambda_mgd=1.0))
    (s,), (t,) = levels((6, 6)), levels((6, 6))
    assert loss(s, t).item() == pytest.approx(t.square().sum().item() / 2, rel=1e-5)


def test_lambda_is_the_masked_share_and_channels_share_a_mask():
    loss = identity(MGDLoss(3, 3, alpha_mgd=1.0, lambda_mgd=0.65))
    seen = []
    loss.generation[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    (s,) = levels((100, 100))
    torch.manual_seed(0)
    loss(s, s)
    kept = seen[0] != 0
    assert kept.float().mean().item() == pytest.approx(0.35, abs=0.01)
    assert (kept.all(1) == kept.any(1)).all()
    assert not torch.equal(kept[0], kept[1])
    assert torch.equal(seen[0][kept], s[kept])


def test_blocks_and_aligners_of_each_level_learn_and_the_teacher_does_not():
    loss = MGDLoss([2, 4], [3, 4])
    s = [torch.randn(1, 2, 4, 4), torch.randn(1, 4, 2, 2)]
    t = [torch.randn(1, c, n, n, requires_grad=True) for c, n in ((3, 4), (4, 2))]
    loss(s, t).backward()
    assert all(p.grad is not None for p in loss.parameters())
    assert all(x.grad is None for x in t)
    assert isinstance(loss.align[1], torch.nn.Identity)
    assert loss.align[0].weight.shape == (3, 2, 1, 1)


def test_single_cells_constant_maps_and_half_precision():
    loss = MGDLoss(3, 3, lambda_mgd=0.0)
    assert torch.isfinite(loss(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)))
    s, t = 100 * torch.rand(2, 3, 64, 64), torch.zeros(2, 3, 64, 64)
    with torch.autocast('cpu', torch.bfloat16):
        half = loss(s, t)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(s, t).item(), rel=2e-2)


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match='lambda_mgd: got 65'):
        MGDLoss(3, 3, lambda_mgd=65)
    loss = MGDLoss(3, 3)
    (s,) = levels((4, 4))
    with pytest.raises(ShapeError, match='built for 1 levels, got 2'):
        loss([s, s], [s, s])
    with pytest.raises(ShapeError, match='MGDLoss: student'):
        loss(s, s[..., 1:])
