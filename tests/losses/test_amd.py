"""AMD: which cells are masked, and what weighs the channels."""

import pytest
import torch

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses import AMDLoss
from aerialkd.losses.functional import spatial_channel_attention
from tests.contexts import NONE
from tests.contexts import with_boxes as context


def transparent(loss, weight=0.5):
    """Let its blocks hand positive maps through, all channels weighed alike."""
    for block in loss.generation:
        for conv in (block.mask_conv, block.regenerate_conv):
            torch.nn.init.dirac_(conv.weight)
            torch.nn.init.zeros_(conv.bias)
    bias = torch.logit(torch.tensor(weight)).item()
    for block in loss.excitation:
        torch.nn.init.zeros_(block.conv2.conv.weight)
        torch.nn.init.constant_(block.conv2.conv.bias, bias)
    return loss


def spotted(images=1):
    """A map of 3x3 that is active in its centre."""
    t = torch.zeros(images, 2, 3, 3)
    t[:, :, 1, 1] = 4.0
    return t


def test_worked_by_hand():
    """The centre is removed from a map of ones; what is left weighs a half."""
    s, t = torch.ones(1, 2, 3, 3), spotted()
    loss = transparent(AMDLoss(2, 2, alpha_amd=1.0))
    assert loss.keep(t)[0].sum() == 8
    assert not loss.keep(t)[0, 1, 1]
    # Eight cells of (0 - 1/2)^2, and 4^2 in the centre, in both channels.
    assert loss(s, t).item() == pytest.approx(2 * (8 / 4 + 16), rel=1e-5)
    whole = transparent(AMDLoss(2, 2, alpha_amd=1.0, threshold=100.0))
    assert whole(s, t).item() == pytest.approx(2 * (8 / 4 + 3.5**2), rel=1e-5)


def test_sum_over_cells_mean_over_images_and_levels_added():
    s, t = torch.rand(2, 2, 3, 3), torch.rand(2, 2, 3, 3)
    loss = AMDLoss(2, 2, alpha_amd=1.0, num_levels=2)
    one, other = AMDLoss(2, 2, alpha_amd=1.0), AMDLoss(2, 2, alpha_amd=1.0)
    for single, level in ((one, '0'), (other, '1')):
        state = loss.state_dict()
        names = {k: k.replace('.0.', f'.{level}.', 1) for k in single.state_dict()}
        single.load_state_dict({k: state[name] for k, name in names.items()})
    parts = one(s[:1], t[:1]) / 2 + one(s[1:], t[1:]) / 2 + other(s, t)
    assert loss([s, s], [t, t]).item() == pytest.approx(parts.item(), rel=1e-5)


def test_the_mask_is_the_teachers_attention():
    t = torch.randn(2, 4, 8, 8)
    loss = AMDLoss(4, 4, threshold=0.8, temp=0.3)
    expected = spatial_channel_attention(t, 0.3)[0] <= 0.8
    assert loss.keep(t).equal(expected)
    assert AMDLoss(4, 4).keep(torch.ones(1, 4, 4, 4)).all()  # nothing is above the mean
    shown = loss.masks(t, context(NONE, NONE))
    assert list(shown) == ['attention A_s', 'mask (0: regenerated)']


@pytest.mark.parametrize('se_input', ['regenerated', 'student', 'teacher'])
def test_what_the_channel_weights_are_made_of(se_input):
    torch.manual_seed(0)
    loss = AMDLoss(4, 4, se_input=se_input, se_ratio=2)
    seen = []
    loss.excitation[0].global_avgpool.register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    made = []
    loss.generation[0].register_forward_hook(lambda _, __, out: made.append(out))
    s, t = torch.rand(2, 4, 5, 5), torch.rand(2, 4, 5, 5)
    loss(s, t)
    source = dict(regenerated=made[0], student=s, teacher=t)[se_input]
    assert seen[0].equal(source)


def test_learns_everything_but_the_teacher():
    loss = AMDLoss([2, 4], [4, 4])
    s = [torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(1, 4, 1, 1)]
    t = [torch.randn(1, 4, n, n, requires_grad=True) for n in (4, 1)]
    value = loss(s, t)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(s[0].grad).all()
    assert all(p.grad is not None for p in loss.parameters())
    assert all(x.grad is None for x in t)


def test_half_precision_and_mistakes():
    loss = AMDLoss(4, 4)
    s, t = 10 * torch.rand(2, 2, 4, 16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        half = loss(s, t)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(s, t).item(), rel=2e-2)
    with pytest.raises(ConfigError, match=r"se_input: .* one of 'regenerated'"):
        AMDLoss(4, 4, se_input='both')
    with pytest.raises(ConfigError, match=r'AMDLoss\.temp: got 0'):
        AMDLoss(4, 4, temp=0)
    with pytest.raises(ShapeError, match='built for 1 levels, got 2'):
        loss([s, s], [t, t])
    with pytest.raises(ShapeError, match='AMDLoss: student'):
        loss(s, t[..., 1:])
