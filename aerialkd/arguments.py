"""What a config may give to our classes: checked by annotations when they are built.

``tau: Positive = 1.0`` in the signature of a registered class is all that it takes: the
registries of :mod:`aerialkd.registry` check every argument of every class of ours.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from aerialkd.errors import ConfigError


@dataclass(frozen=True)
class Limit:
    """What an annotation asks of a number, beyond its type.

    Attributes:
        text: behind 'a number'.
        holds: whether a number is as it says.
    """

    text: str
    holds: Callable[[Any], bool]


Positive = Annotated[float, Limit('above 0', lambda x: x > 0)]
NotNegative = Annotated[float, Limit('of at least 0', lambda x: x >= 0)]
Share = Annotated[float, Limit('from 0 to 1', lambda x: 0 <= x <= 1)]
BelowOne = Annotated[float, Limit('of at least 0 and below 1', lambda x: 0 <= x < 1)]
AtLeastOne = Annotated[float, Limit('of at least 1', lambda x: x >= 1)]
Exponent = Annotated[
    float, Limit('that is 0 or at least 1', lambda x: x == 0 or x >= 1)
]
Count = Annotated[int, Limit('of at least 1', lambda x: x >= 1)]
OddCount = Annotated[int, Limit('that is odd, 1 or 3', lambda x: x >= 1 and x % 2 == 1)]

_NAMES: dict[Any, str] = {
    float: 'a finite number',
    int: 'a whole number',
    bool: 'True or False',
    str: 'text',
    NoneType: 'None',
    Any: 'anything',
}
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_LISTS = (list, tuple, range, np.ndarray)


def check_when_built(kind: type) -> type:
    """Let a class, and those of ours that it is made of, check what they are given."""
    for base in kind.__mro__:
        ours = base.__module__.partition('.')[0] == 'aerialkd'
        init = vars(base).get('__init__')
        if ours and inspect.isfunction(init) and not hasattr(init, 'is_checked'):
            _wrap(base, init)
    return kind


def _wrap(owner: type, init: Callable[..., None]) -> None:
    @functools.cache
    def hints() -> dict[str, Any]:
        return get_type_hints(init, include_extras=True)

    signature = inspect.signature(init)
    parameters = signature.parameters.values()
    named = [p for p in parameters if p.kind not in _VARIABLE]

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        _check_names(name, _known(type(self), owner), kwargs)
        given = signature.bind_partial(self, *args, **kwargs).arguments
        for parameter in named:
            argument = parameter.name
            if argument in given:
                _check(
                    f'{name}.{argument}', given[argument], hints().get(argument, Any)
                )
            elif parameter.default is parameter.empty:
                raise ConfigError(f'{name}: got no {argument!r}, which it needs.')
        init(self, *args, **kwargs)

    checked.is_checked = True  # type: ignore[attr-defined]
    owner.__init__ = checked  # type: ignore[misc]


def _known(kind: type, owner: type) -> list[str] | None:
    """Arguments from a class on upwards; None where any name may be given.

    What a signature leaves to ``**kwargs`` is that of the next class.
    """
    known: dict[str, None] = {}  # in their order
    mro = kind.__mro__
    for base in mro[mro.index(owner) : -1]:
        if '__init__' in vars(base):
            own = list(inspect.signature(vars(base)['__init__']).parameters.values())[
                1:
            ]
            known |= dict.fromkeys(p.name for p in own if p.kind not in _VARIABLE)
            if all(p.kind != p.VAR_KEYWORD for p in own):
                return list(known)
    return None


def _check_names(
    name: str, known: Sequence[str] | None, kwargs: Mapping[str, Any]
) -> None:
    if known is None:
        return
    unknown = [key for key in kwargs if key not in known]
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], known, 1)
    raise ConfigError(
        f'{name}: got an unknown argument {unknown[0]!r}, expected some of '
        f'{", ".join(known)}.' + (f' Did you mean {near[0]!r}?' if near else '')
    )


def _check(place: str, value: Any, hint: Any) -> None:
    if fits(value, hint):
        return
    way_out = ''
    if isinstance(value, str):
        try:
            meant = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            meant = value
        if fits(meant, hint):
            way_out = f' Write {value} without quotes.'
    raise ConfigError(f'{place}: got {value!r}, expected {describe(hint)}.{way_out}')


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says; what is not known fits.

    Numbers are finite, those of NumPy count; text and booleans are no numbers, numbers
    no booleans, and text is no list.
    """
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return True
    if kind is Annotated:
        return fits(value, inner[0]) and all(
            limit.holds(value) for limit in inner[1:] if isinstance(limit, Limit)
        )
    if kind in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if kind is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if kind is bool:
        return isinstance(value, (bool, np.bool_))
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real)
        return number and not isinstance(value, bool) and _is_finite(value)
    if not isinstance(kind, type):
        return True
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(
            fits(each, part)
            for item in value.items()
            for each, part in zip(item, inner, strict=False)
        )
    if kind is not str and issubclass(kind, Sequence):
        return isinstance(value, _LISTS) and _items_fit(value, kind, inner)
    return isinstance(value, kind)


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number with more than 308 digits
        return False


def _items_fit(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    if issubclass(kind, tuple) and inner and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(fits, value, inner))
    return not inner or all(fits(item, inner[0]) for item in value)


def describe(hint: Any) -> str:
    """An annotation in words: 'a finite number above 0 or None'."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        limits = [limit.text for limit in inner[1:] if isinstance(limit, Limit)]
        return ' '.join([describe(inner[0]), *limits])
    if kind in (Union, UnionType):
        return ' or '.join(map(describe, inner))
    if kind is Literal:
        text = ', '.join(map(repr, inner))
        return text if len(inner) == 1 else f'one of {text}'
    if hint in _NAMES:
        return _NAMES[hint]
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return f'a dict (each {describe(inner[1])})' if inner else 'a dict'
    if isinstance(kind, type) and issubclass(kind, Sequence):
        items = [describe(item) for item in inner if item is not Ellipsis]
        return f'a list (each {", ".join(items)})' if items else 'a list'
    return getattr(kind, '__name__', str(kind))
