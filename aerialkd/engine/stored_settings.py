"""The settings that a checkpoint's training had, compared with those that are given."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from aerialkd.errors import ConfigError

# What makes it the same training.
DECISIVE = (
    *('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'),
    *('param_scheduler', 'randomness'),
)
# How batches are loaded changes nothing but the time.
LOADING = (
    *('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory'),
    *('timeout', 'multiprocessing_context'),
)
# What a training may go on with changed, at any depth: how long it takes, how it is
# evaluated, where weights come from that the checkpoint replaces. Another size of the
# batch is counted anew and named in the log (aerialkd.engine.resuming).
_RESUMED_WITH = {
    'model': ('test_cfg', 'init_cfg', 'pretrained', 'teacher_check'),
    'train_dataloader': (*LOADING, 'batch_size'),
    'train_cfg': (
        *('max_epochs', 'max_iters'),
        *('val_begin', 'val_interval', 'dynamic_intervals'),
    ),
    'param_scheduler': ('begin', 'end', 'T_max', 'milestones'),
}
_ABSENT = 'nothing'
_LONGEST = 60  # characters of a value in a message


def settings_of(cfg: Config) -> dict[str, Any]:
    """The decisive settings of a config, as :func:`parse_settings` reads them."""
    whole = cfg.to_dict()  # with classes named as in a dump
    there = {key: whole[key] for key in DECISIVE if key in whole}
    text = Config(there, format_python_code=False).pretty_text
    return parse_settings(text, str(cfg.filename))


def parse_settings(text: str, name: str) -> dict[str, Any]:
    """Read a config as MMEngine dumps it, without running it.

    Args:
        text: assignments; what is no plain data, such as a class, stays text.
        name: where it stands.

    Raises:
        ConfigError: if it is not Python.
    """
    try:
        assigned = [node for node in ast.parse(text).body if type(node) is ast.Assign]
        return {ast.unparse(node.targets[0]): _value(node.value) for node in assigned}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f'{name}: cannot be read as a config: {error}') from error


def differences(
    stored: Mapping[str, Any], given: Mapping[str, Any], resumed: bool = False
) -> list[str]:
    """Decisive settings that differ, as 'KEY: stored VALUE, given VALUE'.

    Args:
        stored: of :func:`parse_settings`.
        given: the same.
        resumed: leave out what a training may go on with changed.
    """
    found: list[str] = []
    for key in DECISIVE:
        ignored = _RESUMED_WITH.get(key, ()) if resumed else ()
        found += _differences(stored.get(key), given.get(key), key, ignored)
    return found


def listed(differences: list[str], limit: int = 3) -> str:
    """The first differences in one line, and how many more there are."""
    more = len(differences) - limit
    return '; '.join(differences[:limit]) + (f'; and {more} more' if more > 0 else '')


def _differences(
    stored: Any, given: Any, name: str, ignored: tuple[str, ...]
) -> Iterator[str]:
    if isinstance(stored, list) and isinstance(given, list):
        stored, given = dict(enumerate(stored)), dict(enumerate(given))
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in dict.fromkeys([*stored, *given]):
            if key not in ignored:
                values = stored.get(key), given.get(key)
                yield from _differences(*values, f'{name}.{key}', ignored)
    elif stored != given and not _is_same_file(name, stored, given):
        yield f'{name}: stored {_short(stored)}, given {_short(given)}'


def _is_same_file(name: str, stored: Any, given: Any) -> bool:
    """Whether a config that a model names has only got its whole path now."""
    return name.startswith(('model.teacher', 'model.architecture')) and str(
        given
    ).endswith(f'/{stored}')


def _short(value: Any) -> str:
    text = _ABSENT if value is None else repr(value)
    return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 3]}...'


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        parts: dict[str, Any] = {}
        for argument in node.args:  # dict({'a.b': 1})
            part = _value(argument)
            parts |= part if isinstance(part, dict) else {ast.unparse(argument): part}
        return parts | {str(word.arg): _value(word.value) for word in node.keywords}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {str(key and _value(key)): _value(value) for key, value in pairs}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):  # a class, inf
        return ast.unparse(node)
