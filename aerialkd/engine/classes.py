"""Do the detector, its data and its weights speak of the same classes?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from aerialkd.datasets.metainfo import loader_metainfo
from aerialkd.errors import ConfigError

Names = tuple[str, ...]
_SHOWN = 12  # names in a message
# Heads whose outputs are not the classes of the objects.
_OTHER = ('backbone', 'rpn_head', 'semantic', 'panoptic', 'track', 'reid')


def check_classes(cfg: Config, model: nn.Module, loaders: Sequence[str]) -> None:
    """Compare what a detector predicts with the classes of its data.

    The data are not read for it: the config and the classes of the data sets say what
    theirs are. Data sets that do not are left alone.

    Args:
        cfg: the config, as the user gave it.
        model: built from it, plain, a distillation or the student of one.
        loaders: those whose data are used, such as ``'train_dataloader'``.

    Raises:
        ConfigError: if a head has another number of classes than the data, or two
            loaders name other classes.
    """
    named = list(_named(cfg, loaders))
    for place, number in class_outputs(getattr(model, 'architecture', model)):
        for loader, names in named:
            if number == len(names):
                continue
            fits = next((pair for pair in named if len(pair[1]) == number), None)
            raise ConfigError(
                f'{place}.num_classes: got {number}, but the data of {loader} have '
                f'{len(names)} classes {_listed(names)}; '
                + (
                    f'give them those of {fits[0]} {_listed(fits[1])}.'
                    if fits
                    else f'set it to {len(names)}, or classes of the data sets to '
                    'those that are meant (metainfo.classes where a data set has no '
                    'such argument).'
                )
            )
    for loader, names in named[1:]:
        first, expected = named[0]
        if names != expected:
            at = _first_difference(names, expected)
            raise ConfigError(
                f'{loader}: got {len(names)} classes {_listed(names)}, expected the '
                f'{len(expected)} of {first} {_listed(expected)} in their order; they '
                f'differ from position {at} on. Give both the same metainfo.classes.'
            )


def compare_names(stated: Names | None, cfg: Config, loader: str, name: str) -> None:
    """Compare the classes that a checkpoint states with those of the data.

    Args:
        stated: the checkpoint's; None where it states none.
        cfg: the config.
        loader: whose data it is evaluated on.
        name: of the checkpoint.

    Raises:
        ConfigError: if a class of both stands elsewhere, so that labels mean others.
    """
    for _, names in _named(cfg, [loader]):
        if stated is None or names == stated:
            continue
        at = _first_difference(names, stated)
        message = (
            f'{name} was trained for {len(stated)} classes {_listed(stated)}, the data '
            f'of {loader} have {len(names)} {_listed(names)}; they differ from '
            f'position {at} on'
        )
        places = {name: i for i, name in enumerate(stated)}
        moved = any(places.get(name, i) != i for i, name in enumerate(names))
        if moved or len(names) != len(stated):
            raise ConfigError(
                f'{message}. Give the data metainfo.classes of the training, in their '
                'order, or another checkpoint.'
            )
        print_log(
            f'{message}: outputs are taken by their place.',
            logger='current',
            level=logging.WARNING,
        )


def class_outputs(detector: nn.Module) -> Iterator[tuple[str, int]]:
    """Path and ``num_classes`` of every head of a detector, and of their losses."""
    for path, module in detector.named_modules():
        number = getattr(module, 'num_classes', None)
        if type(number) is not int or number < 1:
            continue
        is_other = any(word in path for word in _OTHER)
        if not is_other and 'RPN' not in type(module).__name__:
            yield path, number


def _named(cfg: Config, loaders: Sequence[str]) -> Iterator[tuple[str, Names]]:
    for loader in loaders:
        for metainfo in loader_metainfo(cfg, loader):
            if metainfo.get('classes'):
                yield loader, tuple(metainfo['classes'])


def _listed(names: Names) -> str:
    more = ', ...' if len(names) > _SHOWN else ''
    return f'({", ".join(names[:_SHOWN])}{more})'


def _first_difference(names: Names, others: Names) -> int:
    pairs = list(zip(names, others, strict=False))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
