"""The settings that a checkpoint's training had, compared with those that are given."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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
# What is said when a training is resumed with it changed, beyond these.
SAID = (*DECISIVE, 'custom_hooks', 'auto_scale_lr')
# What makes it another training, so that it is not resumed with it changed; the rest
# has its effect from the next step on.
_REFUSED = ('model', 'train_dataloader', 'train_cfg', 'randomness')
# What, at any depth, changes nothing that is trained: how it is evaluated, how batches
# are loaded. Another size of the batch is named elsewhere (aerialkd.engine.resuming).
_NOT_TRAINED = {
    'model': ('test_cfg', 'teacher_check'),
    'train_dataloader': (*LOADING, 'batch_size'),
    'train_cfg': ('val_begin', 'val_interval', 'dynamic_intervals'),
}
# What has its effect at any depth without making it another training: how long it
# takes, weights of losses, the teacher's file, of which the content is compared.
_RESUMED_WITH = ('max_epochs', 'max_iters', 'teacher_ckpt')
_WEIGHTS = ('weight', 'weights')
# Where weights come from that the checkpoint replaces, and seeds that it brings.
_REPLACED = ('init_cfg', 'pretrained')
_SEEDS = ('randomness.seed', 'train_dataloader.sampler.seed')
_ABSENT = 'nothing'
_LONGEST = 60  # characters of a value in a message


class Difference(NamedTuple):
    """A setting that is another one than a checkpoint's training had.

    Attributes:
        name: its place in the config, such as ``'model.backbone.depth'``.
        stored: what the training had; None for nothing.
        given: what the config has.
    """

    name: str
    stored: Any
    given: Any

    def __str__(self) -> str:
        return f'{self.name}: stored {_short(self.stored)}, given {_short(self.given)}'

    @property
    def has_effect(self) -> bool:
        """Whether a resumed training does anything else because of it."""
        keys = self.name.split('.')
        replaced = not {*_REPLACED}.isdisjoint(keys) and 'teacher' not in keys
        return not replaced and self.name not in _SEEDS


def settings_of(cfg: Config, keys: Sequence[str] = DECISIVE) -> dict[str, Any]:
    """Settings of a config, as :func:`parse_settings` reads them.

    Args:
        cfg: the config.
        keys: at its top; the decisive ones by default.
    """
    whole = cfg.to_dict()  # with classes named as in a dump
    there = {key: whole[key] for key in keys if key in whole}
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
    found: list[Difference] = []
    for key in _REFUSED if resumed else DECISIVE:
        ignored = _NOT_TRAINED.get(key, ()) if resumed else ()
        found += _differences(stored.get(key), given.get(key), key, ignored)
    return [str(one) for one in found if not (resumed and _is_resumed_with(one))]


def changes(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[Difference]:
    """Settings with which a training is resumed and that differ from what it had.

    Args:
        stored: of :func:`parse_settings`.
        given: :func:`settings_of` a config, of the keys :data:`SAID`.
    """
    found: list[Difference] = []
    for key in SAID:
        pair = stored.get(key), given.get(key)
        if key == 'custom_hooks':
            pair = _by_type(pair[0]), _by_type(pair[1])
        found += _differences(*pair, key, _NOT_TRAINED.get(key, ()))
    return found


def listed(differences: list[str], limit: int = 3) -> str:
    """The first differences in one line, and how many more there are."""
    more = len(differences) - limit
    return '; '.join(differences[:limit]) + (f'; and {more} more' if more > 0 else '')


def _is_resumed_with(one: Difference) -> bool:
    keys = one.name.split('.')
    weighs = keys[0] == 'model' and any(k.endswith(_WEIGHTS) for k in keys)
    return weighs or not {*_RESUMED_WITH, *_REPLACED}.isdisjoint(keys)


def _by_type(hooks: Any) -> dict[str, Any]:
    """Hooks by their names; where they stand in the list says nothing."""
    listed = hooks if isinstance(hooks, list) else []
    return {str(hook.get('type')): hook for hook in listed if isinstance(hook, dict)}


def _differences(
    stored: Any, given: Any, name: str, ignored: tuple[str, ...]
) -> Iterator[Difference]:
    if isinstance(stored, list) and isinstance(given, list):
        stored, given = dict(enumerate(stored)), dict(enumerate(given))
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in dict.fromkeys([*stored, *given]):
            if key not in ignored:
                values = stored.get(key), given.get(key)
                yield from _differences(*values, f'{name}.{key}', ignored)
    elif stored != given and not _is_same_file(name, stored, given):
        yield Difference(name, stored, given)


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
