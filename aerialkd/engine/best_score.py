"""The best score so far, and of which metric it is."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from aerialkd.evaluation.metric_names import current_name

# In the message hub, so in each checkpoint: rules by metric.
_OF = 'best_score_of'
_STEP = re.compile(r'_[a-z]+_\d+')


def forget_other_scores(hook: CheckpointHook, runner: Runner) -> None:
    """Let no score be compared with the best one of another metric or another rule.

    A checkpoint brings that of the ``save_best`` and ``rule`` that its training had.

    Args:
        hook: with ``save_best``; ``'auto'`` is decided.
        runner: its message hub is changed.
    """
    hub = runner.message_hub
    known = hub.runtime_info.get(_OF, {})
    one = len(hook.key_indicators) == 1
    for key, rule in zip(hook.key_indicators, hook.rules, strict=True):
        end = '' if one else f'_{key}'
        score, file = f'best_score{end}', f'best_ckpt{end}'
        best = hub.runtime_info.get(score)
        if best is None or _is_of(key, rule, known, hub.runtime_info.get(file)):
            continue
        of = ', '.join(f'{name} ({its_rule})' for name, its_rule in known.items())
        print_log(
            f'The best score that the checkpoint has, {best}, is of '
            f'{of or Path(str(hub.get_info(file))).name}, and save_best is '
            f'{key} ({rule}) now: it is compared with nothing, and its checkpoint '
            'stays.',
            logger='current',
            level=logging.WARNING,
        )
        hub.pop_info(score)
        hub.pop_info(file, None)
        if one:
            hook.best_ckpt_path = None
        else:
            hook.best_ckpt_path_dict[key] = None
    names = [current_name(key) for key in hook.key_indicators]
    hub.update_info(_OF, dict(zip(names, hook.rules, strict=True)))


def _is_of(key: str, rule: str, known: Mapping[str, str], file: Any) -> bool:
    """Whether a best score is of this metric; by its file's name where none says it."""
    if known:
        return known.get(current_name(key)) == rule
    name = _plain(Path(str(file)).stem)
    return file is None or bool(
        _STEP.fullmatch(name.removeprefix(_plain(f'best_{key}')))
    )


def _plain(name: str) -> str:
    return re.sub(r'\W', '_', name.replace('@', '_at_'))  # as 0.1.0 named measures
