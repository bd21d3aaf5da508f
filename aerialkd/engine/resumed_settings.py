"""The settings of a config in the place of those that a checkpoint restores."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.hooks import EMAHook
from mmengine.logging import print_log
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import EpochBasedTrainLoop, Runner

from aerialkd.engine.replay import (
    Change,
    Validation,
    follows_metrics,
    settle_optimizer,
)
from aerialkd.engine.stored_settings import (
    SAID,
    Difference,
    changes,
    listed,
    parse_settings,
    settings_of,
)
from aerialkd.errors import CheckpointError, ConfigError
from aerialkd.loading.mmengine_reader import CONFIG_TEXT

DIGESTS = 'teacher_digests'
# On which learning rates and averages depend.
_SCHEDULING = (
    *('optim_wrapper', 'param_scheduler', 'train_cfg'),
    *('auto_scale_lr', 'custom_hooks'),
)


def settle_settings(
    runner: Runner,
    checkpoint: dict[str, Any],
    moved: bool,
    validations: Sequence[Validation] | None,
    digests: Mapping[str, str],
) -> None:
    """Resume with the settings of the config, and say which the checkpoint had.

    With the same settings, a checkpoint stays as it is.

    Args:
        runner: about to resume.
        checkpoint: changed in place.
        moved: whether it is of other surroundings, or of unknown ones.
        validations: that its training had done; None where it does not say.
        digests: of the files of teachers (:mod:`aerialkd.engine.inputs`).

    Raises:
        CheckpointError: if the optimizer's state does not fit the config.
    """
    given = settings_of(runner.cfg, SAID)
    stored = _stored(checkpoint['meta'])
    differ = changes(stored, given) if stored and 'model' in given else None
    if differ:
        _check_optimizers(runner, differ)
    found: list[Change] = []
    keys = {one.name.split('.')[0] for one in differ or []}
    if moved or differ is None or not keys.isdisjoint(_SCHEDULING):
        if follows_metrics(runner) and validations is None:
            _warn(
                f'{runner._load_from}: a schedule follows metrics, and this checkpoint '
                'does not hold those of its validations: learning rates and what else '
                "the optimizer's groups and schedules hold stay the checkpoint's."
            )
        else:
            found = settle_optimizer(runner, checkpoint, validations or [])
        _settle_averages(runner, checkpoint['meta'])
    _take_plain_weights(runner, checkpoint)
    differ = [*_but_equal_files(runner, checkpoint, differ or [], digests)]
    _say(runner, differ)
    pairs = [(one.name.rpartition('.')[2], one.stored, one.given) for one in differ]
    for one in found:
        if one[:3] not in pairs:
            where = f' ({one.where})' if one.where else ''
            _warn(
                f'{one.name}{where}: the checkpoint has {one.stored!r}, this config '
                f'gives {one.given!r} at this step, which is taken.'
            )


def _stored(meta: dict[str, Any]) -> dict[str, Any] | None:
    """The settings that a checkpoint states; None if there are none to read."""
    try:
        stored = parse_settings(meta.get(CONFIG_TEXT) or '', 'the checkpoint')
    except ConfigError:
        return None
    return stored if 'model' in stored else None


def _check_optimizers(runner: Runner, differ: Sequence[Difference]) -> None:
    for one in differ:
        if one.name.endswith('optimizer.type'):
            raise CheckpointError(
                f'{runner._load_from}: its optimizer cannot be resumed as another one: '
                f'{one}. Start from its weights: --cfg-options load_from=FILE, in '
                'another --work-dir.'
            )


def _but_equal_files(
    runner: Runner,
    checkpoint: dict[str, Any],
    differ: Sequence[Difference],
    given: Mapping[str, str],
) -> Iterator[Difference]:
    """Differences without names of a teacher's file, which differs by its content."""
    stored: Mapping[str, str] | None = checkpoint['meta'].get(DIGESTS)
    if stored is None:
        if given:
            _warn(
                f'{runner._load_from}: states no digest of a teacher; whether '
                f'{", ".join(given)} is the same file as before is not known.'
            )
        yield from differ
        return
    yield from (one for one in differ if one.name not in {*stored, *given})
    for key in dict.fromkeys([*stored, *given]):
        pair = (stored.get(key), given.get(key))
        if pair[0] != pair[1]:
            yield Difference(key, *(sha and f'SHA-256 {sha[:12]}...' for sha in pair))


def _say(runner: Runner, differ: Sequence[Difference]) -> None:
    with_effect = [str(one) for one in differ if one.has_effect]
    without = [str(one) for one in differ if not one.has_effect]
    parts = []
    if with_effect:
        all_of_them = listed(with_effect, len(with_effect))
        parts.append(f'in effect from this step on: {all_of_them}')
    if without:
        all_of_them = listed(without, len(without))
        parts.append(f"without effect, as the checkpoint's are taken: {all_of_them}")
    if parts:
        _warn(f'{runner._load_from}: other settings, {"; ".join(parts)}.')


def _settle_averages(runner: Runner, meta: dict[str, Any]) -> None:
    """Count the updates of moving averages, of which their momentum can depend."""
    in_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    # Without epochs, the first one is all there is.
    length = len(runner.train_dataloader) if in_epochs else meta['iter']
    for hook in runner.hooks:
        if not isinstance(hook, EMAHook):
            continue
        before = max(hook.begin_iter, 1) - 1
        if hook.enabled_by_epoch:
            before = (hook.begin_epoch - 1) * length
        if isinstance(hook.ema_model, ExponentialMovingAverage):
            hook.ema_model.steps.fill_(max(meta['iter'] - before, 0))


def _take_plain_weights(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Go on from the weights that were trained where averages are no longer kept."""
    averages = checkpoint.get('ema_state_dict')
    if not averages or any(isinstance(hook, EMAHook) for hook in runner.hooks):
        return
    state = checkpoint['state_dict']
    for key, value in averages.items():
        name = key.removeprefix('module.')
        if name != key and name in state:
            state[name] = value
    _warn(
        f'{runner._load_from}: the config has no EMAHook; the averaged weights have no '
        'effect, those that were trained are taken.'
    )


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
