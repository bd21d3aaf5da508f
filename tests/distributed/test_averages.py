"""What processes average: counts that divide losses, statistics of batch norms."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import MMDistributedDataParallel

import aerialkd  # noqa: F401 - the two processes import this module
from aerialkd.engine import SyncStatisticsHook
from aerialkd.structures import averaged_count

pytestmark = pytest.mark.alone


def counts(rank):
    own = torch.tensor([[4, 1, 0, 0, 7], [2, 0, 1, 0, 7]][rank])
    return averaged_count(own).tolist()


def test_counts(pair):
    """Nobody divides by 0; one object in all is half an object each."""
    assert pair.run(counts) == [[3.0, 0.5, 0.5, 0.5, 7.0]] * 2


def test_the_count_of_one_process_is_its_own():
    assert averaged_count(torch.tensor([3, 0])).tolist() == [3.0, 1.0]
    assert averaged_count(torch.tensor(0.25, dtype=torch.float64)).item() == 1


def statistics(rank):
    """Of a model and of its averaged weights, after an epoch on other images each."""
    norm = torch.nn.BatchNorm2d(1)
    model = MMDistributedDataParallel(norm, broadcast_buffers=False)
    ema = EMAHook(momentum=0.5, update_buffers=True)
    runner = SimpleNamespace(model=model, hooks=[ema], iter=0, epoch=0)
    ema.before_run(runner)
    model.train()(torch.full((2, 1, 1, 1), 10.0 * (1 + rank)))
    ema.after_train_iter(runner, 0)
    ema.after_train_iter(runner, 1)
    SyncStatisticsHook().after_train_epoch(runner)
    return norm.running_mean.item(), ema.ema_model.module.running_mean.item()


def test_statistics(pair):
    first, second = pair.run(statistics)
    assert first == second
    assert first[0] == pytest.approx(1.5)  # 0.1 * (10 + 20) / 2
    assert 0 < first[1] <= 1.5
