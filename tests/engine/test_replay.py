"""Schedules stepped up to a checkpoint, against those that were stepped in training."""

from __future__ import annotations

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import ParamSchedulerHook
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn

from aerialkd.engine.replay import Change, Validation, settle_optimizer
from aerialkd.errors import CheckpointError

LENGTH = 4
MOMENTUM = dict(momentum=0.9, weight_decay=0.1)

SCHEDULES = {
    'steps': [dict(type='StepLR', step_size=2, gamma=0.3)],
    'milestones': [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=6),
        dict(type='MultiStepLR', milestones=[1, 2, 4], gamma=0.3, begin=1),
    ],
    'both units at once': [
        dict(type='CosineAnnealingLR', T_max=5, convert_to_iter_based=True),
        dict(type='ExponentialLR', gamma=0.7),
        dict(type='ConstantLR', factor=0.2, by_epoch=False, begin=3, end=9),
    ],
    'powers': [dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, end=20)],
    'restarts': [
        dict(
            type='CosineRestartLR', periods=[2, 4], restart_weights=[1, 0.5], eta_min=0
        )
    ],
    'one cycle': [dict(type='OneCycleLR', eta_max=0.1, total_steps=20, by_epoch=False)],
    'momentum': [
        dict(type='LinearMomentum', start_factor=0.5, by_epoch=False, end=7),
        dict(type='StepMomentum', step_size=1, gamma=0.9),
        dict(type='ExponentialLR', gamma=0.7, verbose=True),
    ],
    'metrics': [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=6),
        dict(type='ReduceOnPlateauLR', monitor='AP', rule='greater', patience=1),
    ],
}


def optimizer(kind=torch.optim.SGD, groups=1, **options):
    layers = [nn.Linear(2, 2) for _ in range(groups)]
    parts = [dict(params=layer.parameters()) for layer in layers]
    for number, part in enumerate(parts[1:], 2):
        part['lr'] = 0.01 * number
    defaults = MOMENTUM if kind is torch.optim.SGD else {}
    return kind(parts, **{'lr': 0.01, **defaults, **options})


def runner_of(wrapper, schedules, loop=EpochBasedTrainLoop):
    """What a runner has once it has built everything."""

    def build(cfgs, one):
        default = dict(optimizer=one, epoch_length=LENGTH)
        return [
            PARAM_SCHEDULERS.build(copy.deepcopy(c), default_args=default) for c in cfgs
        ]

    if isinstance(wrapper, OptimWrapperDict):
        built = {name: build(schedules, one) for name, one in wrapper.items()}
    else:
        built = build(schedules, wrapper)
    return SimpleNamespace(
        optim_wrapper=wrapper,
        param_schedulers=built,
        train_loop=object.__new__(loop),
        train_dataloader=range(LENGTH),
        _load_from='epoch.pth',
    )


def train(runner, epochs, iterations, by_epoch=True):
    """What the hook does in so many epochs and iterations; validations' metrics."""
    hook, done, found = ParamSchedulerHook(), 0, []
    wrappers = runner.optim_wrapper
    several = isinstance(wrappers, OptimWrapperDict)
    wrappers = list(wrappers.values()) if several else [wrappers]

    def validate(epoch):
        metrics = dict(AP=(0.1, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1)[epoch])
        hook.after_val_epoch(runner, metrics)
        found.append(Validation(epoch if by_epoch else 0, done, metrics))

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        while done < iterations:
            for wrapper in wrappers:
                for group in wrapper.optimizer.param_groups:
                    for parameter in group['params']:
                        parameter.grad = torch.ones_like(parameter)
                wrapper.optimizer.step()
            hook.after_train_iter(runner, 0)
            done += 1
            if done % LENGTH == 0 and done // LENGTH <= (epochs if by_epoch else 9):
                if by_epoch:
                    hook.after_train_epoch(runner)
                validate(done // LENGTH)
    return found


def saved(runner, epochs, iterations):
    built = runner.param_schedulers
    states = (
        {name: [s.state_dict() for s in part] for name, part in built.items()}
        if isinstance(built, dict)
        else [s.state_dict() for s in built]
    )
    checkpoint = dict(
        meta=dict(epoch=epochs, iter=iterations),
        optimizer=runner.optim_wrapper.state_dict(),
        param_schedulers=states,
    )
    return copy.deepcopy(checkpoint)


def hyperparameters(state):
    parts = [state] if 'param_groups' in state else state.values()
    return [
        {k: v for k, v in group.items() if k != 'params'}
        for part in parts
        for group in (*part['param_groups'], part.get('base_param_settings', {}))
    ]


# An epoch's end, the middle of one, its last step without its end.
@pytest.mark.parametrize(('epochs', 'iterations'), [(3, 12), (3, 14), (2, 12)])
@pytest.mark.parametrize('given', SCHEDULES.values(), ids=SCHEDULES)
def test_equals_schedules_that_were_stepped(given, epochs, iterations, capsys):
    other = runner_of(OptimWrapper(optimizer(lr=0.5)), SCHEDULES['steps'])
    metrics = train(other, epochs, iterations)
    checkpoint = saved(other, epochs, iterations)
    moments = copy.deepcopy(checkpoint['optimizer']['state'])

    straight = runner_of(OptimWrapper(optimizer()), given)
    train(straight, epochs, iterations)
    expected = saved(straight, epochs, iterations)
    capsys.readouterr()

    resumed = runner_of(OptimWrapper(optimizer()), given)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        settle_optimizer(resumed, checkpoint, metrics)
    assert checkpoint['param_schedulers'] == expected['param_schedulers']
    groups = [checkpoint['optimizer'], expected['optimizer']]
    assert hyperparameters(groups[0]) == hyperparameters(groups[1])
    assert str(checkpoint['optimizer']['state']) == str(moments)


@pytest.mark.parametrize('given', SCHEDULES.values(), ids=SCHEDULES)
def test_of_iterations(given):
    def runner():
        return runner_of(OptimWrapper(optimizer()), given, IterBasedTrainLoop)

    straight, resumed = runner(), runner()
    metrics = train(straight, 0, 14, by_epoch=False)
    expected = saved(straight, 0, 14)
    checkpoint = copy.deepcopy(expected)
    assert settle_optimizer(resumed, checkpoint, metrics) == []
    assert checkpoint['param_schedulers'] == expected['param_schedulers']
    groups = [checkpoint['optimizer'], expected['optimizer']]
    assert hyperparameters(groups[0]) == hyperparameters(groups[1])


def test_of_several_optimizers_with_groups():
    def runner(lr):
        kinds = dict(a=torch.optim.SGD, b=torch.optim.AdamW)
        wrappers = {
            name: OptimWrapper(optimizer(kind, groups=3, lr=lr))
            for name, kind in kinds.items()
        }
        return runner_of(OptimWrapperDict(**wrappers), SCHEDULES['momentum'])

    other, straight, resumed = runner(0.5), runner(0.01), runner(0.01)
    for one in (other, straight):
        train(one, 3, 12)
    checkpoint, expected = saved(other, 3, 12), saved(straight, 3, 12)
    changes = settle_optimizer(resumed, checkpoint, [])
    groups = [checkpoint['optimizer'], expected['optimizer']]
    assert hyperparameters(groups[0]) == hyperparameters(groups[1])
    assert checkpoint['param_schedulers'] == expected['param_schedulers']
    assert [(c.name, c.where) for c in changes] == [
        ('lr', 'a, 1 of 3 groups'),
        ('lr', 'b, 1 of 3 groups'),
    ]
    for name, wrapper in resumed.optim_wrapper.items():
        wrapper.load_state_dict(checkpoint['optimizer'][name])


def test_equal_settings_are_no_change():
    one = runner_of(OptimWrapper(optimizer()), SCHEDULES['milestones'])
    train(one, 3, 12)
    fresh = runner_of(OptimWrapper(optimizer()), SCHEDULES['milestones'])
    assert settle_optimizer(fresh, saved(one, 3, 12), []) == []


def settled(before, after, **state):
    old, new = (runner_of(OptimWrapper(o), []) for o in (before, after))
    train(old, 1, LENGTH)
    checkpoint = saved(old, 1, LENGTH)
    checkpoint['optimizer'].update(state)
    changes = settle_optimizer(new, checkpoint, [])
    new.optim_wrapper.load_state_dict(checkpoint['optimizer'])
    return new.optim_wrapper.optimizer, changes


def test_settings_are_those_given():
    kind = torch.optim.AdamW
    before = optimizer(kind, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
    after = optimizer(kind, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.2)
    resumed, changes = settled(before, after)
    group = resumed.param_groups[0]
    assert (group['betas'], group['eps'], group['weight_decay']) == (
        (0.8, 0.99), 1e-6, 0.2
    )  # fmt: skip
    assert Change('betas', (0.9, 0.99), (0.8, 0.99), '') in changes
    assert len(changes) == 3


class Finding(torch.optim.SGD):
    """Keeps in its groups what it finds out, as Prodigy does."""

    def __init__(self, params, lr, momentum=0.0, weight_decay=0.0, d0=1.0):
        super().__init__(params, lr, momentum, weight_decay=weight_decay)
        self.defaults.update(d0=d0, d=d0)
        for group in self.param_groups:
            group.update(d0=d0, d=d0)

    def step(self, closure=None):
        for group in self.param_groups:
            group['d'] *= 2
            group['steps'] = group.get('steps', 0) + 1
        return super().step(closure)


def test_what_an_optimizer_found_out_is_the_checkpoints():
    resumed, changes = settled(optimizer(Finding), optimizer(Finding, lr=0.1, d0=3.0))
    group = resumed.param_groups[0]
    assert (group['d'], group['steps']) == (2.0**LENGTH, LENGTH)
    assert (group['lr'], group['d0']) == (0.1, 3.0)
    assert {change.name for change in changes} == {'lr', 'd0'}


@pytest.mark.parametrize(
    ('before', 'after', 'problem'),
    [
        (
            optimizer(groups=2),
            optimizer(),
            'got 2 groups of 4 parameters, expected 1 groups of 2 parameters',
        ),
        (
            optimizer(),
            torch.optim.SGD(nn.Linear(3, 2).parameters(), 0.1),
            r'momentum_buffer of \(2, 2\), expected \(2, 3\)',
        ),
        (
            optimizer(torch.optim.AdamW),
            optimizer(torch.optim.AdamW, amsgrad=True),
            'amsgrad was off and its state was not kept',
        ),
        (
            optimizer(torch.optim.RMSprop),
            optimizer(torch.optim.RMSprop, momentum=0.9),
            'momentum was off',
        ),
    ],
)
def test_state_that_does_not_fit(before, after, problem):
    with pytest.raises(CheckpointError, match=f'state does not fit.*{problem}'):
        settled(before, after)


@pytest.mark.parametrize('groups', [(1, 4), (4, 1)])
def test_groups_that_are_new_or_gone(groups):
    """As with ``paramwise_cfg``: the moments stay with their parameters."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))

    def made(number):
        every = list(model.parameters())
        parts = [every] if number == 1 else [[parameter] for parameter in every]
        rates = [dict(params=p, lr=0.1 * (1 + i)) for i, p in enumerate(parts)]
        return torch.optim.SGD(rates, momentum=0.9)

    before, after = map(made, groups)
    runner = runner_of(OptimWrapper(before), [])
    train(runner, 1, LENGTH)
    checkpoint = saved(runner, 1, LENGTH)
    runner = runner_of(OptimWrapper(after), [])
    runner.model = model
    settle_optimizer(runner, checkpoint, [])
    runner.optim_wrapper.load_state_dict(checkpoint['optimizer'])
    rates = [group['lr'] for group in after.param_groups]
    assert rates == [0.1 * (1 + i) for i in range(groups[1])]
    for parameter in model.parameters():
        kept = after.state[parameter]['momentum_buffer']
        assert torch.equal(kept, before.state[parameter]['momentum_buffer'])
    # In another order they may be others of the same shape.
    after.param_groups.reverse()
    if groups[1] > 1:
        with pytest.raises(CheckpointError, match='got 1 groups of 4'):
            settle_optimizer(
                runner, saved(runner_of(OptimWrapper(made(1)), []), 1, 1), []
            )


def test_old_names_of_metrics_are_followed():
    plateau = dict(type='ReduceOnPlateauLR', monitor='visdrone/AP@500', patience=0)
    runner = runner_of(OptimWrapper(optimizer()), [plateau | dict(rule='greater')])
    found = [Validation(n, 4 * n, {'visdrone/AP_at_500': 0.3 / n}) for n in (1, 2)]
    checkpoint = saved(runner, 2, 2 * LENGTH)
    settle_optimizer(runner, checkpoint, found)
    (group,) = checkpoint['optimizer']['param_groups']
    assert group['lr'] == pytest.approx(0.001)


def test_momentum_of_sgd_begins_when_it_is_switched_on():
    resumed, _ = settled(optimizer(momentum=0), optimizer(momentum=0.9))
    for parameter in resumed.param_groups[0]['params']:
        parameter.grad = torch.ones_like(parameter)
    resumed.step()


def test_optimizers_of_other_names():
    def runner(*names):
        wrappers = {name: OptimWrapper(optimizer()) for name in names}
        return runner_of(OptimWrapperDict(**wrappers), [])

    one = runner_of(OptimWrapper(optimizer()), [])
    for old, new in (
        (runner('a'), runner('b')),
        (one, runner('a')),
        (runner('a'), one),
    ):
        with pytest.raises(CheckpointError, match='the optimizers have other names'):
            settle_optimizer(new, saved(old, 0, 0), [])


@pytest.mark.parametrize(('fixed', 'scale'), [(None, 64.0), (8.0, 8.0)])
def test_scale_of_losses_is_found_unless_it_is_fixed(fixed, scale):
    """The scaler's own settings are those given."""

    class Wrapper(OptimWrapper):  # AmpOptimWrapper needs a GPU
        _scale_update_param = fixed

        def state_dict(self):
            scaler = dict(scale=fixed or 2.0, growth_interval=7, _growth_tracker=0)
            return dict(super().state_dict(), loss_scaler=scaler)

    assert 'loss_scaler' in AmpOptimWrapper.state_dict.__doc__
    old = runner_of(OptimWrapper(optimizer()), [])
    checkpoint = saved(old, 0, 0)
    scaler = dict(scale=64.0, growth_interval=2000, _growth_tracker=5)
    checkpoint['optimizer']['loss_scaler'] = scaler
    plain = copy.deepcopy(checkpoint)
    settle_optimizer(runner_of(Wrapper(optimizer()), []), checkpoint, [])
    kept = checkpoint['optimizer']['loss_scaler']
    assert (kept['scale'], kept['growth_interval']) == (scale, 7)
    assert kept['_growth_tracker'] == (0 if fixed else 5)
    settle_optimizer(runner_of(OptimWrapper(optimizer()), []), plain, [])
    assert 'loss_scaler' not in plain['optimizer']
