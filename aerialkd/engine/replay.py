"""Learning rates, schedules and optimizer settings of a config at a checkpoint's step.

MMEngine restores those of the training that wrote the checkpoint. Here the schedules of
the config are stepped as often as a training that began with it would have stepped them
by then: most multiply what they find, so that nothing else gives the same numbers.
"""

from __future__ import annotations

import inspect
import itertools
import math
import operator
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.optim import SGD, Optimizer

from aerialkd.engine.distributed import plain_model
from aerialkd.errors import CheckpointError
from aerialkd.evaluation.metric_names import current_names

# Moments, which have the shape of their parameter.
_MOMENTS = ('momentum_buffer', 'exp_avg', 'exp_avg_sq', 'square_avg')
# Switched on, they need a state that was not kept; SGD's begins when it is needed.
_NEED_STATE = ('amsgrad', 'centered', 'momentum')
_SCALE = ('scale', '_growth_tracker')


class Validation(NamedTuple):
    """When a validation was done, and its metrics, which some schedules follow."""

    epoch: int
    iteration: int
    metrics: dict[str, float]


class Change(NamedTuple):
    """A number of the optimizer that is another one than in the checkpoint.

    Attributes:
        name: of the setting, such as ``'lr'``.
        stored: what the checkpoint has, in the first group that differs.
        given: what the config gives there.
        where: which groups, '' for all of them.
    """

    name: str
    stored: Any
    given: Any
    where: str


def follows_metrics(runner: Runner) -> bool:
    """Whether a schedule depends on what validations found (``ReduceOnPlateauLR``)."""
    return any(getattr(s, 'need_val_args', False) for s in _schedulers(runner))


def settle_optimizer(
    runner: Runner, checkpoint: dict[str, Any], validations: Sequence[Validation]
) -> list[Change]:
    """Give a checkpoint the settings of the optimizer and schedules that a config has.

    Moments and what else the optimizer found out stay the checkpoint's.

    Args:
        runner: with optimizer and schedules as they are built.
        checkpoint: changed in place; ``meta`` says how far it is.
        validations: that were done by then.

    Returns:
        What the optimizer's next step does otherwise than the checkpoint says.

    Raises:
        CheckpointError: if the optimizer's state does not fit.
    """
    _replay(runner, checkpoint['meta'], validations)
    saved = checkpoint['optimizer']
    wrapper = runner.optim_wrapper
    wrappers, states = {'': wrapper}, {'': saved}
    if isinstance(wrapper, OptimWrapperDict):
        wrappers, states = dict(wrapper.items()), saved
    if isinstance(wrapper, OptimWrapperDict) == ('param_groups' in saved) or (
        wrappers.keys() != states.keys()
    ):
        raise _misfit(runner, 'the optimizers have other names')
    before = _lists(checkpoint.get('param_schedulers') or [])
    scheduled = {s.param_name for s in _schedulers(runner)}
    scheduled |= {state.get('param_name', '') for state in before}
    changes: list[Change] = []
    for name, one in wrappers.items():
        changes += _settle(runner, name, one, states[name], scheduled)
    built = runner.param_schedulers
    if isinstance(built, dict):
        checkpoint['param_schedulers'] = {
            name: [s.state_dict() for s in listed] for name, listed in built.items()
        }
    elif built is not None:
        checkpoint['param_schedulers'] = [s.state_dict() for s in built]
    return changes


def _replay(
    runner: Runner, meta: dict[str, Any], validations: Sequence[Validation]
) -> None:
    """Step the schedules as ``ParamSchedulerHook`` does, up to a checkpoint."""
    every = list(_schedulers(runner))
    with _quiet(every):
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            length = len(runner.train_dataloader)
            _replay_epochs(every, meta['epoch'], length, meta['iter'], validations)
        else:
            _replay_iterations(every, meta['epoch'], meta['iter'], validations)


def _replay_epochs(
    every: Sequence[Any],
    epochs: int,
    length: int,
    left: int,
    validations: Sequence[Validation],
) -> None:
    found = {v.epoch: v.metrics for v in validations}
    for epoch in range(1, epochs + 1):
        _step(every, min(length, left))
        left -= min(length, left)
        _step(every, 1, by_epoch=True)
        _follow(every, found.get(epoch))
    _step(every, left)


def _replay_iterations(
    every: Sequence[Any], epochs: int, left: int, validations: Sequence[Validation]
) -> None:
    done = 0
    for validation in validations:
        _step(every, validation.iteration - done)
        done = validation.iteration
        _follow(every, validation.metrics)
    _step(every, left - done)
    _step(every, epochs, by_epoch=True)  # one, when it ends


@contextmanager
def _quiet(schedulers: Sequence[Any]) -> Iterator[None]:
    """Let no step be announced, nor the optimizer's steps be missed."""
    verbose = [scheduler.verbose for scheduler in schedulers]
    for scheduler in schedulers:
        scheduler.verbose = False
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Detected call of')
        yield
    for scheduler, before in zip(schedulers, verbose, strict=True):
        scheduler.verbose = before


def _step(every: Sequence[Any], times: int, by_epoch: bool = False) -> None:
    schedulers = [scheduler for scheduler in every if scheduler.by_epoch == by_epoch]
    for _ in range(times if schedulers else 0):
        for scheduler in schedulers:
            scheduler.step()


def _follow(every: Sequence[Any], metrics: dict[str, float] | None) -> None:
    found = current_names(metrics or {})
    for scheduler in every:
        follows = scheduler.by_epoch and getattr(scheduler, 'need_val_args', False)
        if follows and scheduler.monitor in found:
            scheduler.step(found)


def _schedulers(runner: Runner) -> Iterator[Any]:
    yield from _lists(runner.param_schedulers or [])


def _lists(schedulers: Any) -> list[Any]:
    """Schedules of one optimizer, or those of several, one after the other."""
    if isinstance(schedulers, dict):
        return list(chain.from_iterable(schedulers.values()))
    return list(schedulers)


def _settle(
    runner: Runner, name: str, wrapper: Any, saved: dict[str, Any], scheduled: set[str]
) -> list[Change]:
    """Put one optimizer's settings into its saved state."""
    optimizer: Optimizer = wrapper.optimizer
    fresh = wrapper.state_dict()
    before, now = saved['param_groups'], fresh['param_groups']
    sizes = [[len(group['params']) for group in groups] for groups in (before, now)]
    if sizes[0] != sizes[1] and _is_in_order(runner, optimizer, sizes[0]):
        before = saved['param_groups'] = _regrouped(before, sizes[1])
        sizes[0] = sizes[1]
    if sizes[0] != sizes[1]:
        counts = [f'{len(size)} groups of {sum(size)} parameters' for size in sizes]
        raise _misfit(runner, f'got {counts[0]}, expected {counts[1]}')
    _check_state(runner, optimizer, saved)
    saved['param_groups'] = [
        {**group, **_learned(optimizer, group, old, scheduled), 'params': old['params']}
        for group, old in zip(now, before, strict=True)
    ]
    saved.pop('base_param_settings', None)
    if 'base_param_settings' in fresh:
        saved['base_param_settings'] = fresh['base_param_settings']
    scaler = saved.pop('loss_scaler', None)
    if scaler and fresh.get('loss_scaler'):
        fixed = getattr(wrapper, '_scale_update_param', None) is not None
        found = {} if fixed else {key: scaler[key] for key in _SCALE if key in scaler}
        saved['loss_scaler'] = {**fresh['loss_scaler'], **found}
    return list(_changes(name, before, saved['param_groups']))


def _is_in_order(runner: Runner, optimizer: Optimizer, saved: list[int]) -> bool:
    """Whether saved and present groups list all parameters in the model's order.

    One group does, and so does a group for each parameter (``paramwise_cfg``); others
    may be sorted, by depth for instance.
    """
    own = [p for group in optimizer.param_groups for p in group['params']]
    if sum(saved) != len(own) or not (len(saved) == 1 or set(saved) == {1}):
        return False
    every = list(plain_model(runner).parameters())
    return len(own) == len(every) and all(map(operator.is_, own, every))


def _regrouped(
    groups: Sequence[dict[str, Any]], sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """The same parameters in groups of these sizes, with their first one's settings."""
    flat = iter([(number, group) for group in groups for number in group['params']])
    parts = [list(itertools.islice(flat, size)) for size in sizes]
    return [{**part[0][1], 'params': [n for n, _ in part]} for part in parts]


def _learned(
    optimizer: Optimizer,
    group: dict[str, Any],
    saved: dict[str, Any],
    scheduled: set[str],
) -> dict[str, Any]:
    """What an optimizer keeps in a group that is no setting, such as a step size.

    Settings are what its class takes, and what schedules set.
    """
    classes = [one for one in type(optimizer).__mro__ if issubclass(one, Optimizer)]
    taken = [
        parameter
        for one in classes
        for parameter in inspect.signature(one.__init__).parameters.values()
    ]
    settings = {parameter.name for parameter in taken} | scheduled
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        settings |= set(optimizer.defaults)
    return {
        key: value
        for key, value in saved.items()
        if not (key in settings or key.startswith('initial_'))
        and (key in optimizer.defaults or key not in group)
    }


def _check_state(runner: Runner, optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Compare moments with the parameters that they belong to."""
    groups = saved['param_groups']
    numbers = chain.from_iterable(group['params'] for group in groups)
    parameters = chain.from_iterable(g['params'] for g in optimizer.param_groups)
    for number, parameter in zip(numbers, parameters, strict=True):
        state = saved['state'].get(number, {})
        for key in _MOMENTS:
            shape = getattr(state.get(key), 'shape', parameter.shape)
            if shape != parameter.shape:
                shapes = f'{tuple(shape)}, expected {tuple(parameter.shape)}'
                raise _misfit(runner, f'parameter {number} has {key} of {shapes}')
    if isinstance(optimizer, SGD) or not saved['state']:
        return
    for old, group in zip(groups, optimizer.param_groups, strict=True):
        on = [key for key in _NEED_STATE if group.get(key) and not old.get(key)]
        if on and on[0] in old:
            raise _misfit(runner, f'{on[0]} was off and its state was not kept')


def _misfit(runner: Runner, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{runner._load_from}: its optimizer's state does not fit this config: "
        f'{problem}. Resume with the model and the optim_wrapper that it was trained '
        'with, or start from its weights: --cfg-options load_from=FILE, in another '
        '--work-dir.'
    )


def _changes(
    name: str, before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]
) -> Iterator[Change]:
    keys = dict.fromkeys(key for group in now for key in group if key != 'params')
    for key in keys:
        pairs = [
            (old[key], new[key])
            for old, new in zip(before, now, strict=True)
            if key in old and key in new
        ]
        other = [pair for pair in pairs if not _is_same(*pair)]
        if other and not key.startswith('initial_'):
            some = (
                '' if len(other) == len(now) else f'{len(other)} of {len(now)} groups'
            )
            where = ', '.join(part for part in (name, some) if part)
            yield Change(key, *other[0], where)


def _is_same(stored: Any, given: Any) -> bool:
    """Equal but for how numbers were rounded on their way."""
    if isinstance(stored, float) and isinstance(given, float):
        return math.isclose(stored, given, rel_tol=1e-9)
    if isinstance(stored, (list, tuple)) and isinstance(given, (list, tuple)):
        return len(stored) == len(given) and all(map(_is_same, stored, given))
    return bool(stored == given)
