"""Resumed trainings against uninterrupted ones, bit for bit."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch

from aerialkd.engine import find_resumable
from tests.engine.toys import in_child, train_toy

LOADERS = [
    pytest.param(dict(workers=0), id='in the process', marks=pytest.mark.slow),
    pytest.param(dict(workers=2), id='persistent workers'),
    pytest.param(dict(workers=2, by_epoch=False), id='iterations'),
    pytest.param(
        dict(workers=2, persistent=False), id='passing workers', marks=pytest.mark.slow
    ),
]


def state_of(work_dir):
    return torch.load(work_dir / 'state.pt', weights_only=False)


def assert_equal(ours, theirs, where='state'):
    """Exactly equal, tensors and numbers alike."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_equal(ours[key], theirs[key], f'{where}.{key}')
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), where
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(*pair, f'{where}[{index}]')
    elif isinstance(ours, torch.Tensor | np.ndarray):
        assert ours.shape == theirs.shape, where
        assert (ours == theirs).all(), where
    else:
        assert ours == theirs, where


@pytest.fixture(scope='module', params=LOADERS)
def straight(request, tmp_path_factory):
    """Options of a training, and its state after six epochs in one go."""
    work_dir = tmp_path_factory.mktemp('straight') / 'toy'
    assert in_child(lambda: train_toy(work_dir, **request.param)) == 0
    return request.param, state_of(work_dir)


MOMENTS = {
    'while epoch 3 is validated': dict(moment='before_val', iteration=12),
    'in epoch 4': dict(moment='after_train_iter', iteration=14),
    'while the last epoch is validated': dict(moment='before_val', iteration=24),
}


@pytest.mark.parametrize('moment', MOMENTS.values(), ids=MOMENTS)
def test_kill_and_resume_is_as_if_nothing_had_been(straight, tmp_path, moment):
    options, expected = straight
    work_dir = tmp_path / 'toy'
    kill = [dict(type='KillAt', **moment)]
    killed = in_child(lambda: train_toy(work_dir, custom_hooks=kill, **options))
    assert killed == -signal.SIGKILL
    assert find_resumable(work_dir) is not None  # or it would start anew
    assert in_child(lambda: train_toy(work_dir, resume=True, **options)) == 0
    assert_equal(state_of(work_dir), expected)


@pytest.mark.parametrize('iteration', [1, 13, 14, 16])
def test_sigterm_saves_and_resumes_within_an_epoch(straight, tmp_path, iteration):
    options, expected = straight
    work_dir = tmp_path / 'toy'
    term = dict(moment='after_train_iter', iteration=iteration, number=signal.SIGTERM)
    kill = [dict(type='KillAt', **term)]
    ended = in_child(lambda: train_toy(work_dir, custom_hooks=kill, **options))
    assert ended == 128 + signal.SIGTERM
    due = not options.get('by_epoch', True) and iteration == 16
    assert (work_dir / 'interrupted.pth').is_file() != due
    assert in_child(lambda: train_toy(work_dir, resume=True, **options)) == 0
    assert_equal(state_of(work_dir), expected)
    assert not (work_dir / 'interrupted.pth').exists()


def test_seed_that_was_drawn_is_taken_over(tmp_path):
    # mmengine draws one of NumPy's numbers, then builds loaders before it resumes.
    def train(work_dir, numpy_seed, **options):
        np.random.seed(numpy_seed)  # noqa: NPY002
        # Workers of an epoch start from their seeds, not from what was saved.
        loader = dict(workers=2, persistent=False)
        train_toy(work_dir, randomness=dict(seed=None), **loader, **options)

    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    kill = [dict(type='KillAt', moment='before_val', iteration=12)]
    assert in_child(lambda: train(straight, 1)) == 0
    assert in_child(lambda: train(broken, 1, custom_hooks=kill)) == -signal.SIGKILL
    assert in_child(lambda: train(broken, 2, resume=True)) == 0
    assert_equal(state_of(broken), state_of(straight))


def test_random_numbers_of_half_a_validation_do_not_count(tmp_path):
    hook = dict(type='CheckpointHook', interval=4, save_best='score', rule='greater')
    options = dict(disturbed=True, default_hooks=dict(checkpoint=hook))
    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    term = dict(moment='before_val', iteration=12, number=signal.SIGTERM)
    kill = [dict(type='KillAt', **term)]
    assert in_child(lambda: train_toy(straight, **options)) == 0
    ended = in_child(lambda: train_toy(broken, custom_hooks=kill, **options))
    assert ended == 128 + signal.SIGTERM
    assert find_resumable(broken) == broken / 'interrupted.pth'
    assert in_child(lambda: train_toy(broken, resume=True, **options)) == 0
    assert_equal(state_of(broken), state_of(straight))
