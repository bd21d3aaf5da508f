"""The best checkpoint so far: its score, the metric that it is of, its file."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from aerialkd.errors import MetricConfigError
from aerialkd.evaluation.metric_names import (
    current_name,
    is_missing,
    known_rules,
    rule_of,
)

# In the message hub, so in each checkpoint: rules by metric.
_OF = 'best_score_of'
_STEP = re.compile(r'_[a-z]+_\d+')


class BestCheckpoints(CheckpointHook):
    """The part of our checkpoint hook that keeps the best one; see there."""

    _folder: Path | None  # None: not local

    def _whole(self, name: str) -> AbstractContextManager[str]:
        """The name under which a file is to be written that then gets its own."""
        raise NotImplementedError

    def _save_best_checkpoint(
        self, runner: Runner, metrics: dict[str, float | None]
    ) -> None:
        """MMEngine's, but the previous best one goes when the new one is there."""
        if not self.save_best:
            return
        if 'auto' in self.key_indicators and metrics:
            self._init_rule(self.rules, [next(iter(metrics))])
        unknown = [key for key in self.key_indicators if key not in metrics]
        if unknown:
            raise MetricConfigError(
                f'save_best: got {", ".join(sorted(unknown))}, expected some of '
                f'{", ".join(metrics)}; set default_hooks.checkpoint.save_best.'
            )
        forget_other_scores(self, runner)
        metrics = {key: metrics[key] for key in self.key_indicators}
        rules = zip(self.key_indicators, self.rules, strict=True)
        for key in [key for key, rule in rules if is_missing(metrics[key], rule)]:
            print_log(
                f'{key} is {metrics[key]}: the validation data hold no objects to '
                'measure it by, and no checkpoint is the best one. Give val_dataloader '
                'annotated images, or set default_hooks.checkpoint.save_best=None.',
                logger='current',
                level=logging.WARNING,
            )
            metrics[key] = None  # MMEngine's word for no value
        if self._folder is None:
            super()._save_best_checkpoint(runner, metrics)
            return
        before = self._best_files()
        self._set_best_files(dict.fromkeys(before))  # or MMEngine would remove it now
        save = runner.save_checkpoint

        def save_whole(out_dir: str, filename: str, **options: Any) -> None:
            with self._whole(filename) as part:
                save(out_dir, part, **options)

        runner.save_checkpoint = save_whole
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            del runner.save_checkpoint  # the class's own comes back
        after = self._best_files()
        self._set_best_files({key: after[key] or before[key] for key in after})
        for old, new in zip(before.values(), after.values(), strict=True):
            if old and new and old != new and is_main_process():
                # Of this folder: another training's may have been resumed.
                (self._folder / Path(old).name).unlink(missing_ok=True)

    def _init_rule(
        self, rules: list[str | None], key_indicators: Sequence[str]
    ) -> None:
        """MMEngine's, which has no idea of AP and AR."""
        if len(rules) == 1:
            rules = rules * len(key_indicators)
        if self.less_keys is self._default_less_keys:  # or the user has said it
            pairs = zip(rules, key_indicators, strict=True)
            rules = [rule or rule_of(key) for rule, key in pairs]
        with known_rules('default_hooks.checkpoint.rule'):
            super()._init_rule(rules, key_indicators)

    def _best_files(self) -> dict[str, str | None]:
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best_files(self, files: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            (self.best_ckpt_path,) = files.values()
        else:
            self.best_ckpt_path_dict.update(files)


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
