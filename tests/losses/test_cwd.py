import pytest
import torch

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses import CWDLoss
from aerialkd.losses.functional import channel_wise_divergence


def test_levels_are_summed_and_weighted():
    s, t = ([torch.randn(2, 3, n, n) for n in (8, 4)] for _ in 'ST')
    parts = [channel_wise_divergence(a, b, 2.0) for a, b in zip(s, t, strict=True)]
    found = CWDLoss(tau=2.0, loss_weight=5.0)(s, t).item()
    assert found == pytest.approx(5 * sum(parts).item())
    single = CWDLoss()(s[0], t[0]).item()
    assert single == pytest.approx(10 * channel_wise_divergence(s[0], t[0]).item())


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match=r'CWDLoss\.tau: got 0'):
        CWDLoss(tau=0)
    with pytest.raises(ShapeError, match='1 levels, the teacher 2'):
        CWDLoss()([torch.zeros(1, 1, 2, 2)], [torch.zeros(1, 1, 2, 2)] * 2)
