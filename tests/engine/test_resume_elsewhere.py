"""Trainings that go on with another number of processes, or from MMEngine's files."""

from __future__ import annotations

import itertools

import pytest
import torch
from mmengine import hooks

from aerialkd.engine import read_checkpoint
from tests.engine.toys import DISTRIBUTED, LENGTH, in_child, in_processes, train_toy


def learning_rates(work_dir):
    state = torch.load(work_dir / 'state.pt', weights_only=False)
    return state['history']['train/lr'][0], state


# Over the epochs, in iterations; one that counts steps.
COSINE = dict(type='CosineAnnealingLR', T_max=4, convert_to_iter_based=True)
WARM_UP = dict(type='LinearLR', start_factor=0.5, by_epoch=False, end=6)


@pytest.mark.parametrize(
    ('schedule', 'scaled'),
    [
        ([COSINE, WARM_UP], False),
        # Its end is a part of the rate that the schedule began with.
        ([{**COSINE, 'eta_min_ratio': 0.1}], True),
    ],
)
def test_from_two_processes_to_one(tmp_path, schedule, scaled):
    options = dict(
        param_scheduler=schedule,
        auto_scale_lr=dict(enable=scaled, base_batch_size=6),
        epochs=4,
    )
    # Two processes: 6 images a step, two steps an epoch; one: four.
    kill = [dict(type='KillAt', moment='before_val', iteration=4)]
    two = tmp_path / 'two'
    ended = in_processes(
        2, lambda: train_toy(two, custom_hooks=kill, **DISTRIBUTED, **options)
    )
    assert ended == [-9 & 255] * 2
    assert read_checkpoint(two / 'epoch_2.pth')['meta']['iter'] == 4
    assert in_child(lambda: train_toy(two, resume=True, **options)) == 0
    rates, state = learning_rates(two)
    assert state['progress'] == (4, 16)
    cosine, *warm_up = state['schedulers']
    assert (cosine['_global_step'], cosine['T_max'], cosine['end']) == (16, 16, 16)
    for linear in warm_up:
        assert (linear['_global_step'], linear['last_step']) == (16, 5)
    # The second half as one process has it.
    one = tmp_path / 'one'
    assert in_child(lambda: train_toy(one, **options)) == 0
    expected, _ = learning_rates(one)
    assert rates[-8:] == expected[-8:]
    assert len(rates) == 4 + 8


@pytest.mark.parametrize('by_epoch', [True, False])
def test_lasts_as_long_as_the_config_then_says(tmp_path, by_epoch):
    """MMEngine restores the schedule's end with the checkpoint."""
    unit = 1 if by_epoch else LENGTH

    def schedule(epochs):
        decay = dict(type='MultiStepLR', milestones=[(epochs - 1) * unit], gamma=0.01)
        cosine = dict(type='CosineAnnealingLR', T_max=epochs * unit)
        parts = [dict(part, by_epoch=by_epoch) for part in (decay, cosine)]
        kill = dict(type='KillAt', moment='before_val', iteration=2 * LENGTH)
        return dict(epochs=epochs, by_epoch=by_epoch, param_scheduler=parts), [kill]

    short, kill = schedule(2)
    long, _ = schedule(5)
    assert in_child(lambda: train_toy(tmp_path, custom_hooks=kill, **short)) == -9
    assert in_child(lambda: train_toy(tmp_path, resume=True, **long)) == 0
    _, state = learning_rates(tmp_path)
    decay, cosine = state['schedulers']
    assert list(decay['milestones']) == [4 * unit]
    assert cosine['T_max'] == 5 * unit
    # None of its steps is missing, although the shorter one had ended.
    assert (cosine['_global_step'], cosine['last_step']) == (5 * unit, 5 * unit - 1)
    rates = state['history']['train/lr'][0][-3 * LENGTH :]
    drops = [after < 0.1 * before for before, after in itertools.pairwise(rates)]
    assert sum(drops) == 1  # the decay before the last epoch


def test_sigterm_to_one_process_of_two_ends_both(tmp_path):
    term = dict(moment='after_train_iter', iteration=3, number=15, rank=1)
    options = dict(custom_hooks=[dict(type='KillAt', **term)], **DISTRIBUTED)
    ended = in_processes(2, lambda: train_toy(tmp_path, **options))
    assert ended == [143, 143]
    meta = read_checkpoint(tmp_path / 'interrupted.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (1, 3)


def test_checkpoint_of_mmengine_is_resumed(tmp_path, capfd):
    def upstream():
        from mmengine.registry import HOOKS

        HOOKS.register_module(
            name='CheckpointHook', module=hooks.CheckpointHook, force=True
        )
        train_toy(tmp_path, epochs=2)

    assert in_child(upstream) == 0
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')
    log = dict(epochs=3, resume=True, log_level='WARNING')
    assert in_child(lambda: train_toy(tmp_path, **log)) == 0
    said = capfd.readouterr()
    assert 'the training goes on, but not bit for bit' in said.out + said.err
    state = torch.load(tmp_path / 'state.pt', weights_only=False)
    assert state['progress'] == (3, 12)
