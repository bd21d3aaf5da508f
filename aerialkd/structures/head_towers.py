"""The towers of a dense head: stacked convolutions and what predicts from the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, singledispatch
from typing import Any, NamedTuple, NoReturn

from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import ATSSHead, FCOSHead, GFLHead, RetinaHead
from torch import Tensor

from aerialkd.errors import ConfigError


class Tower(NamedTuple):
    """One tower at one level.

    Attributes:
        convs: the stacked convolutions, each with its norm and activation.
        predict: from the last one's output (N, C, H, W) to the head's output
            (N, A * D, H, W) in training mode.
    """

    convs: Sequence[ConvModule]
    predict: Callable[[Tensor], Tensor]

    def resume(self, feat: Tensor, idx: int) -> Tensor:
        """Predict from a map that stands in for one within the tower.

        Args:
            feat: in the place of what convolution number ``idx`` (from 1) gives before
                its activation, (N, C, H, W).
            idx: the number.
        """
        conv, *others = self.convs[idx - 1 :]
        feat = conv.activate(feat) if conv.with_activation else feat
        for conv in others:
            feat = conv(feat)
        return self.predict(feat)


class Towers(NamedTuple):
    """Both towers of a head at one level."""

    cls: Tower
    reg: Tower


class TowerRecord(NamedTuple):
    """What ``HeadTowers`` records of a head.

    Attributes:
        outputs: what the head returned, as ``HeadOutputs`` records it.
        cls: of the classification tower, the output of convolution number ``idx``
            before its activation, (N, C, H_l, W_l) for each level.
        reg: of the regression tower, likewise.
        idx: the number, from 1.
    """

    outputs: tuple[Any, ...]
    cls: tuple[Tensor, ...]
    reg: tuple[Tensor, ...]
    idx: int


def head_towers(head: Any) -> list[Towers]:
    """Towers of every level of a dense head.

    Served are the heads of RetinaNet (also with rotated anchors), ATSS, GFL, FCOS and
    YOLOv8, and heads derived from them whose forward pass is the same. Another head
    has a method ``towers(level)``, or a function registered with
    ``split_towers.register(ItsClass)``; both return :class:`Towers`.

    Raises:
        ConfigError: if the head is not served, or its towers are no ``ConvModule`` with
            the activation last.
    """
    split = getattr(head, 'towers', None)
    if split is None:
        base = next(c for c in type(head).__mro__ if c in split_towers.registry)
        if base is object or _has_own_forward(head, base):
            _refuse(head)
        split = partial(split_towers, head)
    towers = [split(level) for level in range(len(head.prior_generator.strides))]
    for tower in (tower for both in towers for tower in both):
        _check(head, tower)
    return towers


@singledispatch
def split_towers(head: Any, level: int) -> Towers:
    """Towers of one level; the nearest registered base class of the head decides."""
    _refuse(head)


@split_towers.register(RetinaHead)
def _retina(head: Any, level: int) -> Towers:
    return Towers(
        Tower(head.cls_convs, head.retina_cls), Tower(head.reg_convs, head.retina_reg)
    )


@split_towers.register(ATSSHead)
def _atss(head: Any, level: int) -> Towers:
    return _scaled(head, level, head.atss_cls, head.atss_reg)


@split_towers.register(GFLHead)
def _gfl(head: Any, level: int) -> Towers:
    return _scaled(head, level, head.gfl_cls, head.gfl_reg)


@split_towers.register(FCOSHead)
def _fcos(head: Any, level: int) -> Towers:
    cls, reg = _scaled(head, level, head.conv_cls, head.conv_reg)

    def distances(feat: Tensor) -> Tensor:
        encoded = reg.predict(feat)
        return encoded.clamp(min=0) if head.norm_on_bbox else encoded.exp()

    return Towers(cls, Tower(reg.convs, distances))


def _scaled(
    head: Any,
    level: int,
    cls: Callable[[Tensor], Tensor],
    reg: Callable[[Tensor], Tensor],
) -> Towers:
    """Towers of a head that multiplies the boxes of each level by a learned number."""
    return Towers(
        Tower(head.cls_convs, cls),
        Tower(head.reg_convs, lambda feat: head.scales[level](reg(feat)).float()),
    )


def _has_own_forward(head: Any, base: type) -> bool:
    """Whether a head derived from a served one computes something else."""
    return any(
        getattr(type(head), name, None) is not getattr(base, name, None)
        for name in ('forward', 'forward_single')
    )


def _refuse(head: Any) -> NoReturn:
    raise ConfigError(
        f'{type(head).__name__}: where its towers are is not known. Served are the '
        'heads of RetinaNet (also rotated), ATSS, GFL, FCOS and YOLOv8; another one '
        'needs a method towers(level), or a function registered with '
        'aerialkd.structures.split_towers.register, which returns the stacked '
        'convolutions of a level and what predicts from the last.'
    )


def _check(head: Any, tower: Tower) -> None:
    for conv in tower.convs:
        if not isinstance(conv, ConvModule) or conv.order[-1] != 'act':
            raise ConfigError(
                f'{type(head).__name__}: its towers hold {type(conv).__name__}, '
                "expected mmcv's ConvModule with the activation last: what lies before "
                'the activation could not be told from the rest.'
            )
