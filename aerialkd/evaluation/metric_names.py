"""Names of measures that every logging backend takes, and those of 0.1.0.

MLflow, for one, refuses a whole evaluation for an ``@`` in one name. ``AP@500`` is
therefore called ``AP_at_500``; wherever a user still writes the old name, it is found.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.evaluator import Evaluator

from aerialkd.errors import MetricConfigError
from aerialkd.evaluation.coco_matching import MISSING

_MEASURE = r'(?:m?AP|AR)(?:50|75)?(?:_[SML]|_11)?'
_LIMITED = re.compile(rf'(?P<name>(?:.*/)?{_MEASURE})(?:@|_at_)(?P<limit>\d+)')
_GREATER = re.compile(rf'(?:.*/)?{_MEASURE}(?:(?:@|_at_)\d+)?')
_REFUSED = re.compile(r'[^\w .-]')


class NamedMeasures(dict[str, float]):
    """Measures by name; a name of 0.1.0 (``visdrone/AP@500``) finds them too.

    Example:
        >>> NamedMeasures({'visdrone/AP_at_500': 0.2})['visdrone/AP@500']
        0.2
    """

    def __missing__(self, key: str) -> float:
        name = current_name(key)
        if not super().__contains__(name):
            raise KeyError(key)
        return self[name]

    def __contains__(self, key: object) -> bool:
        names = {key, current_name(key) if isinstance(key, str) else key}
        return any(super(NamedMeasures, self).__contains__(name) for name in names)

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dict."""
        return self[key] if key in self else default  # noqa: SIM401 - this is get


def limited(measure: str, max_dets: int) -> str:
    """The name of a measure at so many detections an image."""
    return f'{measure}_at_{max_dets}'


def split_limit(name: str) -> tuple[str, int] | None:
    """``('AP', 500)`` of ``AP_at_500`` and ``AP@500``; None without a limit."""
    match = _LIMITED.fullmatch(name)
    return (match['name'], int(match['limit'])) if match else None


def current_name(name: str) -> str:
    """What a measure that 0.1.0 called so is called now; other names stay."""
    parts = split_limit(name)
    return limited(*parts) if parts else name


def current_names(measures: Mapping[str, float]) -> NamedMeasures:
    """Measures of any release under the names of this one."""
    return NamedMeasures({current_name(name): v for name, v in measures.items()})


def class_part(name: str) -> str:
    """A class's name as it may stand in the name of a measure."""
    return _REFUSED.sub('_', name)


def rule_of(name: str) -> str | None:
    """``'greater'`` where a higher value of a measure is better; None if unknown."""
    return 'greater' if _GREATER.fullmatch(name) else None


@contextmanager
def known_rules(option: str) -> Iterator[None]:
    """Say how to state the rule where MMEngine cannot infer it.

    Raises:
        MetricConfigError: in place of its ValueError and KeyError.
    """
    try:
        yield
    except (ValueError, KeyError) as error:
        raise MetricConfigError(
            f"{error.args[0]} Set {option}='greater' or 'less': which are better."
        ) from error


def is_missing(value: Any, rule: str | None) -> bool:
    """Whether a measure says that there was nothing to measure.

    Args:
        value: the measure.
        rule: ``'greater'`` where more is better; a loss may well be -1.
    """
    return bool(rule == 'greater' and value == MISSING)


def accept_old_names() -> str:
    """Let whatever reads an evaluation of MMEngine's find measures by old names.

    That is ``save_best``, the ``monitor`` of schedules and of early stopping, hooks and
    scripts of users.

    Returns:
        What was changed, in one sentence.
    """
    evaluate = Evaluator.evaluate

    @functools.wraps(evaluate)
    def wrapped(self: Evaluator, size: int) -> dict:
        return NamedMeasures(evaluate(self, size))

    if not hasattr(evaluate, '__wrapped__'):
        Evaluator.evaluate = wrapped
    return 'evaluations of mmengine find measures by the names of aerialkd 0.1.0 too'
