"""Early stopping that knows the measures of aerialkd, and when there is none."""

from __future__ import annotations

import logging
from typing import Literal

from mmengine import hooks
from mmengine.logging import print_log
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.runner import Runner

from aerialkd.arguments import Count
from aerialkd.evaluation.metric_names import is_missing, known_rules, rule_of
from aerialkd.registry import HOOKS


@ROOT_HOOKS.register_module(name='EarlyStoppingHook', force=True)
@HOOKS.register_module()
class EarlyStoppingHook(hooks.EarlyStoppingHook):
    """MMEngine's, with AP and AR among the measures of which more is better.

    A validation that has nothing to measure by (-1) is left out of account.

    Args: as for ``mmengine.hooks.EarlyStoppingHook``.

    Raises:
        ConfigError: if it is unknown whether more is better, and ``rule`` is not given.
    """

    def __init__(
        self,
        monitor: str,
        rule: Literal['greater', 'less'] | None = None,
        min_delta: float = 0.1,
        strict: bool = False,
        check_finite: bool = True,
        patience: Count = 5,
        stopping_threshold: float | None = None,
    ) -> None:
        super().__init__(
            *(monitor, rule, min_delta, strict, check_finite, patience),
            stopping_threshold,
        )

    def _init_rule(self, monitor: str) -> str:
        with known_rules('rule'):
            rule: str = rule_of(monitor) or super()._init_rule(monitor)
        return rule

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Decide whether to stop."""
        if is_missing(metrics.get(self.monitor), self.rule):
            print_log(
                f'{self.monitor} is {metrics[self.monitor]}: the validation data hold '
                'no objects to measure it by; early stopping waits.',
                logger='current',
                level=logging.WARNING,
            )
            return
        super().after_val_epoch(runner, metrics)
