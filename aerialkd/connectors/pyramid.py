"""Connectors that act on every level of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from aerialkd.arguments import Count, OddCount
from aerialkd.errors import ConfigError, ShapeError
from aerialkd.registry import MODELS


@MODELS.register_module()
class PyramidAligner(BaseModule):
    """One convolution for each level, from the student's channels to the teacher's.

    Losses that name the same connector share it, and the distiller runs it once a
    step. It is trained with the student and is not part of the exported model.

    Args:
        in_channels: channels of the student's maps, one number or one a level.
        out_channels: channels of the teacher's maps, alike.
        num_levels: number of levels; may be omitted where the channels are listed.
        kernel_size: side of the square kernel, odd.
        act_cfg: activation behind each convolution, ``dict(type='ReLU')``; none when
            omitted.
        init_cfg: initialisation; Kaiming-uniform (PyTorch's default) when omitted.

    Raises:
        ConfigError: if the numbers of levels contradict each other.
    """

    def __init__(
        self,
        in_channels: Count | Sequence[Count],
        out_channels: Count | Sequence[Count],
        num_levels: Count | None = None,
        kernel_size: OddCount = 1,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.activate = build_activation_layer(act_cfg) if act_cfg else nn.Identity()
        self.convs = nn.ModuleList(
            nn.Conv2d(ours, theirs, kernel_size, padding=kernel_size // 2)
            for ours, theirs in zip(
                *channels_of_levels(num_levels, in_channels, out_channels), strict=True
            )
        )

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Align a tuple of (N, C_in, H_l, W_l) to (N, C_out, H_l, W_l).

        Raises:
            ShapeError: if the number of levels differs from ``num_levels``, or their
                channels from ``in_channels``.
        """
        if len(levels) != len(self.convs):
            raise ShapeError(
                f'PyramidAligner was built for {len(self.convs)} levels, got '
                f"{len(levels)}. Set num_levels, or choose levels with 'levels' in "
                'loss_forward_mappings.'
            )
        for index, (conv, level) in enumerate(zip(self.convs, levels, strict=True)):
            takes_channels(f'PyramidAligner, level {index}', level, conv.in_channels)
        return tuple(
            self.activate(conv(level))
            for conv, level in zip(self.convs, levels, strict=True)
        )


class _Unchanged(nn.Identity):
    """In the place of a convolution that is not needed."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels


def takes_channels(name: str, feat: Tensor, channels: Any) -> None:
    """Refuse a map (N, C, H, W) that a convolution does not take.

    Raises:
        ShapeError: if it has other channels.
    """
    if feat.shape[1] != channels:
        raise ShapeError(
            f'{name}: got a map of {feat.shape[1]} channels, was built for {channels}. '
            'Correct the channels in the config, or bring the map to them with a '
            'connector (PyramidAligner).'
        )


def channel_aligners(
    num_levels: int | None,
    student_channels: int | Sequence[int],
    teacher_channels: int | Sequence[int],
) -> tuple[nn.ModuleList, list[int]]:
    """For each level a 1x1 convolution where the channels differ, otherwise nothing.

    As the papers' losses have them, which own their aligner; ``PyramidAligner`` is one
    that losses share.

    Args:
        num_levels: number of levels; one where no argument says otherwise.
        student_channels: one number or one a level.
        teacher_channels: alike.

    Returns:
        The aligners, and the teacher's channels of each level.

    Raises:
        ConfigError: if the numbers of levels contradict each other.
    """
    if not np.ndim(student_channels) and not np.ndim(teacher_channels):
        num_levels = num_levels or 1
    ours, theirs = channels_of_levels(num_levels, student_channels, teacher_channels)
    aligners = nn.ModuleList(
        _Unchanged(s) if s == t else nn.Conv2d(s, t, 1)
        for s, t in zip(ours, theirs, strict=True)
    )
    return aligners, theirs


def channels_of_levels(
    num_levels: int | None, *channels: int | Sequence[int]
) -> list[list[int]]:
    """Channels of each level, from one number for all levels or a list.

    Raises:
        ConfigError: if the lists differ in length, or with ``num_levels``; or if the
            number of levels is nowhere stated.

    Example:
        >>> channels_of_levels(None, 64, [128, 256])
        [[64, 64], [128, 256]]
    """
    stated = {np.size(c) for c in channels if np.ndim(c)}
    stated |= set() if num_levels is None else {num_levels}
    if len(stated) != 1:
        raise ConfigError(
            f'channels {channels} with num_levels={num_levels}: expected one number '
            'of levels; state num_levels, or list the channels of each level.'
        )
    levels = stated.pop()
    return [np.broadcast_to(c, levels).tolist() for c in channels]
