"""Resumed with another config: what each step then has, and what is said of it."""

from __future__ import annotations

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS

from aerialkd.engine import read_checkpoint
from aerialkd.engine import resumed_settings as settings_module
from tests.engine.toys import LENGTH, in_child, train_toy

SGD = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.1))
SCHEDULE = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
    dict(type='CosineAnnealingLR', T_max=2, convert_to_iter_based=True),
]
EMA = dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=10)


@HOOKS.register_module(force=True)
class RecordSettings(Hook):
    """Notes what the optimizer and the moving average have at each step."""

    def __init__(self):
        self.steps = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = [
            {k: v for k, v in g.items() if k != 'params'}
            for g in runner.optim_wrapper.param_groups
        ]
        averages = [h.ema_model for h in runner.hooks if isinstance(h, EMAHook)]
        noted = [(m.momentum, m.gamma, m.steps.item()) for m in averages]
        self.steps.append((runner.epoch, runner.iter, groups, noted))

    def after_train(self, runner):
        torch.save(self.steps, f'{runner.work_dir}/steps.pt')


def train(work_dir, said=None, resume=None, hooks=(), **options):
    """Train in a child process; its steps, and what it warned of."""
    work_dir.mkdir(exist_ok=True)

    def run():
        lines = []
        settings_module._warn = lines.append
        start = {} if resume is None else dict(resume=True, load_from=str(resume))
        recorded = [dict(type='RecordSettings'), *hooks]
        train_toy(work_dir, custom_hooks=recorded, **start, **options)
        torch.save(lines, work_dir / 'said.pt')

    assert in_child(run) == 0
    if said is not None:
        said += torch.load(work_dir / 'said.pt', weights_only=False)
    return torch.load(work_dir / 'steps.pt', weights_only=False)


FIRST = dict(epochs=2, optim_wrapper=SGD, param_scheduler=SCHEDULE)


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    """The checkpoint after two epochs."""
    work_dir = tmp_path_factory.mktemp('first') / 'toy'
    train(work_dir, hooks=[EMA], **FIRST)
    return work_dir / 'epoch_2.pth'


def sgd(**changed):
    return dict(optimizer={**SGD['optimizer'], **changed})


# What is given instead, and what is said of it.
CASES = {
    'nothing': (dict(epochs=2), EMA, []),
    'a longer schedule': (
        dict(
            epochs=4,
            param_scheduler=[SCHEDULE[0], {**SCHEDULE[1], 'T_max': 4}],
        ),
        EMA,
        [
            'train_cfg.max_epochs: stored 2, given 4',
            'param_scheduler.1.T_max: stored 2, given 4',
            'lr: the checkpoint has',
        ],
    ),
    'another kind of schedule': (
        dict(
            epochs=5,
            param_scheduler=[
                dict(type='PolyLR', power=2, by_epoch=True, end=5),
                dict(type='CosineAnnealingMomentum', T_max=5, by_epoch=True),
                dict(type='MultiStepLR', milestones=[1, 3], gamma=0.3),
            ],
        ),
        EMA,
        ['momentum: the checkpoint has 0.9'],
    ),
    'no schedule': (dict(epochs=3, param_scheduler=None), EMA, ['lr: the']),
    'another optimizer and average': (
        dict(
            epochs=3,
            optim_wrapper=sgd(lr=0.02, momentum=0.8, weight_decay=0.2, nesterov=True),
        ),
        {**EMA, 'momentum': 0.01, 'gamma': 50, 'begin_epoch': 2},
        [
            'custom_hooks.EMAHook.gamma: stored 10, given 50',
            'custom_hooks.EMAHook.momentum: stored nothing, given 0.01',
            'optim_wrapper.optimizer.lr: stored 0.01, given 0.02',
            'optim_wrapper.optimizer.momentum: stored 0.9, given 0.8',
            'optim_wrapper.optimizer.weight_decay: stored 0.1, given 0.2',
            'optim_wrapper.optimizer.nesterov: stored nothing, given True',
        ],
    ),
    'a group for each parameter': (
        dict(
            epochs=3,
            optim_wrapper=dict(
                **SGD, paramwise_cfg=dict(norm_decay_mult=0.0, bias_lr_mult=2.0)
            ),
        ),
        EMA,
        [
            'optim_wrapper.paramwise_cfg: stored nothing, given',
            'weight_decay (2 of 4 groups)',
        ],
    ),
    'other batches': (
        dict(
            epochs=3,
            train_dataloader=dict(
                batch_size=6,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type='ToyDataset', disturbed=True),
            ),
        ),
        EMA,
        ['train_cfg.max_epochs: stored 2, given 3'],
    ),
}


@pytest.mark.parametrize(('given', 'ema', 'expected'), CASES.values(), ids=CASES)
def test_each_step_is_that_of_a_training_with_the_config(
    first, tmp_path, given, ema, expected
):
    options = {**FIRST, **given}
    said = []
    straight = train(tmp_path / 'straight', hooks=[ema], **options)
    resumed = train(tmp_path / 'resumed', said, first, [ema], **options)
    left = [step for step in straight if step[0] >= 2]
    assert resumed == left  # to the digit
    text = '\n'.join(said)
    for line in expected:
        assert text.count(line) == 1, text
    if not expected:
        assert not said


def test_moments_and_counters_are_the_checkpoints(first, tmp_path):
    options = {**FIRST, 'optim_wrapper': sgd(lr=0.5), 'epochs': 3}
    stop = [dict(type='StopAt', iteration=2 * LENGTH), EMA]
    work_dir = tmp_path / 'toy'
    train(work_dir, None, first, stop, **options)
    kept = torch.load(work_dir / 'restored.pt', weights_only=False)
    before = read_checkpoint(first)
    state = before['optimizer']['state']
    assert len(kept['state']) == len(state) > 0
    for number, moments in state.items():
        buffer = kept['state'][number]['momentum_buffer']
        assert torch.equal(buffer, moments['momentum_buffer'])
    assert (kept['epoch'], kept['iter']) == (2, 2 * LENGTH)


@HOOKS.register_module(force=True)
class StopAt(Hook):
    """Keeps what was restored, before the first step."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            kept = dict(
                state=runner.optim_wrapper.state_dict()['state'],
                model=runner.model.state_dict(),
                epoch=runner.epoch,
                iter=runner.iter,
            )
            torch.save(kept, f'{runner.work_dir}/restored.pt')


def test_without_averages_the_trained_weights_go_on(first, tmp_path):
    said = []
    stop = [dict(type='StopAt', iteration=2 * LENGTH)]
    train(tmp_path / 'toy', said, first, stop, **{**FIRST, 'epochs': 3})
    kept = torch.load(tmp_path / 'toy' / 'restored.pt', weights_only=False)
    content = read_checkpoint(first)
    for name, value in kept['model'].items():
        assert torch.equal(value, content['ema_state_dict'][f'module.{name}'])
    weight = content['state_dict']['layer.weight']
    assert not torch.equal(weight, kept['model']['layer.weight'])
    assert 'no EMAHook; the averaged weights have no effect' in '\n'.join(said)


def failed(work_dir, checkpoint, capfd, **options):
    start = dict(resume=True, load_from=str(checkpoint))
    assert in_child(lambda: train_toy(work_dir, **start, **options)) == 1
    return capfd.readouterr().err.splitlines()[-1]


def test_another_optimizer_is_refused(first, tmp_path, capfd):
    adam = dict(optimizer=dict(type='AdamW', lr=0.01))
    said = failed(tmp_path, first, capfd, **{**FIRST, 'optim_wrapper': adam})
    difference = "optim_wrapper.optimizer.type: stored 'SGD', given 'AdamW'"
    assert difference in said
    assert 'load_from' in said


def test_seed_has_no_effect(first, tmp_path):
    said = []
    changed = {**FIRST, 'epochs': 3, 'randomness': dict(seed=5)}
    train(tmp_path / 'toy', said, first, [EMA], **changed)
    line = said[0]  # of the rates there is another
    assert 'in effect from this step on: train_cfg.max_epochs: stored 2' in line
    assert (
        "; without effect, as the checkpoint's are taken: "
        'randomness.seed: stored 1, given 5.'
    ) in line


def test_schedule_by_metrics_goes_on(tmp_path):
    plateau = dict(
        type='ReduceOnPlateauLR', monitor='score', rule='greater', patience=0
    )
    options = dict(FIRST, epochs=4, param_scheduler=[plateau])
    straight = train(tmp_path / 'toy', **options)
    changed = dict(options, epochs=5, optim_wrapper=sgd(lr=0.02))
    resumed = train(tmp_path / 'new', None, tmp_path / 'toy' / 'epoch_4.pth', **changed)
    # Of four scores two are worse than one before; the fourth is found on resuming.
    assert [step[2][0]['lr'] for step in straight[-LENGTH:]] == [0.01 * 0.1] * LENGTH
    for step in resumed:
        assert step[2][0]['lr'] == pytest.approx(0.02 * 0.01)


class TestBestScore:
    def hook(self, **changed):
        default = dict(interval=1, save_best='score', rule='greater', max_keep_ckpts=1)
        return dict(checkpoint=dict(type='CheckpointHook', **{**default, **changed}))

    @pytest.mark.parametrize(
        ('changed', 'best'),
        [
            (dict(), 'best_score_epoch_2.pth'),
            (dict(save_best='auto'), 'best_score_epoch_2.pth'),
            (dict(save_best='mean'), 'best_mean_epoch_3.pth'),
            (dict(rule='less'), 'best_score_epoch_3.pth'),
        ],
    )
    def test_of_another_metric_is_compared_with_nothing(self, tmp_path, changed, best):
        options = dict(workers=0, optim_wrapper=SGD)
        before, after = self.hook(), self.hook(**changed)
        assert in_child(
            lambda: train_toy(tmp_path, epochs=2, default_hooks=before, **options)
        ) == 0  # fmt: skip
        # Scores: 0.1, 0.7 and 0.2.
        options |= dict(epochs=3, resume=True)
        assert in_child(
            lambda: train_toy(tmp_path, default_hooks=after, **options)
        ) == 0  # fmt: skip
        state = torch.load(tmp_path / 'state.pt', weights_only=False)
        assert state['best'][1] == best
        assert (tmp_path / 'best_score_epoch_2.pth').is_file()

    def test_another_trainings_best_one_stays(self, tmp_path):
        first, second = tmp_path / 'first', tmp_path / 'second'
        second.mkdir()
        options = dict(default_hooks=self.hook(), optim_wrapper=SGD)
        assert in_child(lambda: train_toy(first, epochs=5, **options)) == 0
        options |= dict(resume=True, load_from=str(first / 'epoch_5.pth'))
        assert in_child(lambda: train_toy(second, epochs=6, **options)) == 0
        assert (second / 'best_score_epoch_6.pth').is_file()
        assert (first / 'best_score_epoch_2.pth').is_file()
