"""Losses that are no numbers: named, left out, and an end after three of them."""

from __future__ import annotations

import signal

import pytest
import torch
from mmdet.structures import DetDataSample

from aerialkd.engine.non_finite_hook import NonFiniteLossHook, _images
from aerialkd.engine.training import build_train_runner
from aerialkd.errors import ConfigError
from tests.engine.toys import (
    DISTRIBUTED,
    in_child,
    in_processes,
    toy_config,
    train_toy,
)

GUARD = dict(type='aerialkd.NonFiniteLossHook')
# A schedule would warn that the optimizer has not made a step yet.
ONE_EPOCH = dict(epochs=1, param_scheduler=[])
AFTER_TWO = dict(moment='after_train_iter', iteration=2, number=signal.SIGTERM)


def poisoned(work_dir, iteration, batches, **options):
    poison = dict(type='Poison', iteration=iteration, batches=batches, parameter=False)
    hooks = [GUARD, poison]
    return in_child(lambda: train_toy(work_dir, custom_hooks=hooks, **options))


@pytest.mark.parametrize('iteration', [2, 6])
def test_step_is_left_out_before_the_optimizer_sees_it(tmp_path, capfd, iteration):
    options = dict(epochs=2, log_level='WARNING')
    assert poisoned(tmp_path, iteration, 2, **options) == 0
    state = torch.load(tmp_path / 'state.pt', weights_only=False)
    assert state['progress'] == (2, 8)
    assert all(torch.isfinite(value).all() for value in state['parameters'].values())
    steps = {int(group['step']) for group in state['optimizer']['state'].values()}
    assert steps == {6}  # of eight
    said = capfd.readouterr()
    lines = [
        line for line in (said.out + said.err).splitlines() if 'not finite' in line
    ]
    assert len(lines) == 2
    assert f'Iteration {iteration} (epoch {(iteration + 3) // 4})' in lines[0]
    assert 'got loss_toy=nan on the images unknown; the step was left out' in lines[0]
    assert '2 in a row' in lines[1]
    last = tmp_path / 'epoch_1.pth' if iteration > 4 else 'none yet'
    assert f'Last good checkpoint: {last}.' in lines[0]


def test_three_in_a_row_stop(tmp_path, capfd):
    assert poisoned(tmp_path, 6, 3) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert (
        'NonFiniteError: Iteration 8 (epoch 2): loss not finite: got loss_toy' in said
    )
    assert 'Stopped: go on from that checkpoint' in said


def test_finite_steps_between_start_anew(tmp_path):
    poisons = [
        dict(type='Poison', iteration=i, batches=2, parameter=False) for i in (2, 5, 8)
    ]
    hooks = [GUARD, *poisons]
    assert in_child(lambda: train_toy(tmp_path, epochs=3, custom_hooks=hooks)) == 0


@pytest.mark.parametrize('by_epoch', [True, False])
def test_epoch_without_any_step_is_no_success(tmp_path, capfd, by_epoch):
    patient = GUARD | dict(max_in_a_row=99)
    poison = dict(type='Poison', iteration=1, batches=4, parameter=False)
    options = dict(custom_hooks=[patient, poison], by_epoch=by_epoch, **ONE_EPOCH)
    assert in_child(lambda: train_toy(tmp_path, **options)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert 'NonFiniteError: Epoch 1: every step was left out, as no loss' in said
    assert 'the last one loss_toy=nan: nothing was learnt' in said
    assert not list(tmp_path.glob('epoch_1.pth'))


def test_what_is_left_of_an_interrupted_epoch_may_be_left_out(tmp_path):
    hooks = [GUARD | dict(max_in_a_row=99), dict(type='KillAt', **AFTER_TWO)]
    options = dict(custom_hooks=hooks, **ONE_EPOCH)
    assert in_child(lambda: train_toy(tmp_path, **options)) == 143
    hooks[1] = dict(type='Poison', iteration=3, batches=2, parameter=False)
    assert in_child(lambda: train_toy(tmp_path, resume=True, **options)) == 0


def test_all_processes_leave_the_step_out(tmp_path):
    poison = dict(type='Poison', iteration=2, batches=2, parameter=False, rank=1)
    hooks = [GUARD, poison]
    ended = in_processes(
        2, lambda: train_toy(tmp_path, epochs=2, custom_hooks=hooks, **DISTRIBUTED)
    )
    assert ended == [0, 0]
    state = torch.load(tmp_path / 'state.pt', weights_only=False)
    assert state['progress'] == (2, 4)
    assert all(torch.isfinite(value).all() for value in state['parameters'].values())
    steps = {int(group['step']) for group in state['optimizer']['state'].values()}
    assert steps == {2}  # of four


def test_images_are_named():
    samples = [
        DetDataSample(metainfo=dict(img_id=number, img_path=f'images/{number}.jpg'))
        for number in range(10)
    ]
    said = _images(dict(data_samples=samples))
    assert said.startswith('0 images/0.jpg, 1 images/1.jpg, ')
    assert said.endswith('7 images/7.jpg and 2 more')


def test_every_training_has_it_once(tmp_path):
    runners = {
        'plain': toy_config(tmp_path / 'plain'),
        'own': toy_config(
            tmp_path / 'own', custom_hooks=[{**GUARD, 'max_in_a_row': 9}]
        ),
    }
    for name, cfg in runners.items():
        cfg.experiment_name = f'guarded_{name}'
        hooks = build_train_runner(cfg).hooks
        guards = [hook for hook in hooks if isinstance(hook, NonFiniteLossHook)]
        assert len(guards) == 1
    assert guards[0].max_in_a_row == 9
    cfg = toy_config(tmp_path / 'off', experiment_name='unguarded')
    cfg.default_hooks.non_finite_loss = None
    hooks = build_train_runner(cfg).hooks
    assert not any(isinstance(hook, NonFiniteLossHook) for hook in hooks)


def test_setting_is_checked():
    with pytest.raises(ConfigError, match='max_in_a_row: got 0'):
        NonFiniteLossHook(max_in_a_row=0)
