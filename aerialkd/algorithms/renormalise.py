"""From the student's normalised inputs to the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aerialkd.errors import ConfigError


class Renormalise(nn.Module):
    """Turn inputs that one preprocessor normalised into those of another.

    Normalising is affine for each channel, so that the step between two
    normalisations is too: exact up to rounding, and right after batch
    augmentations, which a second preprocessor would draw differently. Padding is
    added after normalisation and is set to the target's value.

    Args:
        scale: factor for each channel, in the source's channel order.
        shift: summand for each channel.
        flip: whether the channel orders are opposite (RGB against BGR).
        pad_value: the target's padding value; None leaves the padding alone.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, scale: Tensor, shift: Tensor, flip: bool, pad_value: float | None
    ) -> None:
        super().__init__()
        self.register_buffer('scale', scale.view(1, -1, 1, 1), persistent=False)
        self.register_buffer('shift', shift.view(1, -1, 1, 1), persistent=False)
        self.flip = flip
        self.pad_value = pad_value
        self.identity = bool((scale == 1).all() and (shift == 0).all() and not flip)

    @classmethod
    def between(cls, source: Any, target: Any) -> Renormalise:
        """The step from ``source``'s to ``target``'s normalisation.

        Args:
            source: the student's data preprocessor.
            target: the teacher's; one without normalisation settings of its own
                (a plain ``BaseDataPreprocessor``) shares the student's.

        Raises:
            ConfigError: if one of them has grey and the other colour statistics.
        """
        if not hasattr(source, 'pad_value') or not hasattr(target, 'pad_value'):
            return cls(torch.ones(1), torch.zeros(1), False, None)
        (mean_s, std_s), (mean_t, std_t) = _statistics(source), _statistics(target)
        if len(mean_s) != len(mean_t) and 1 not in (len(mean_s), len(mean_t)):
            raise ConfigError(
                f'The teacher normalises {len(mean_t)} channels, the student '
                f'{len(mean_s)}.'
            )
        flip = source._channel_conversion != target._channel_conversion
        if flip:  # statistics of the target, in the source's order
            mean_t, std_t = mean_t.flip(0), std_t.flip(0)
        scale = torch.where(std_s == std_t, 1.0, std_s / std_t)
        pad = target.pad_value
        same = bool((scale == 1).all() and (mean_s == mean_t).all() and not flip)
        needs_pad = not same or pad != source.pad_value
        shift = (mean_s - mean_t) / std_t
        return cls(scale, shift, flip, float(pad) if needs_pad else None)

    def forward(self, inputs: Tensor, data_samples: Sequence[Any]) -> Tensor:
        """Convert (N, C, H, W); ``data_samples`` give the sizes without padding."""
        if self.identity and self.pad_value is None:
            return inputs
        outputs = inputs * self.scale + self.shift
        if self.flip:
            outputs = outputs.flip(1)
        if self.pad_value is not None:
            outputs = outputs.masked_fill(
                _padding(inputs, data_samples), self.pad_value
            )
        return outputs


def _statistics(preprocessor: Any) -> tuple[Tensor, Tensor]:
    """Mean and deviation for each channel; (0, 1) without normalisation."""
    if not preprocessor._enable_normalize:
        return torch.zeros(1), torch.ones(1)
    return preprocessor.mean.flatten().float(), preprocessor.std.flatten().float()


def _padding(inputs: Tensor, data_samples: Sequence[Any]) -> Tensor:
    """Where an image of the batch is padded, (N, 1, H, W) bool."""
    sizes = inputs.new_tensor([sample.img_shape[:2] for sample in data_samples])
    rows = torch.arange(inputs.shape[2], device=inputs.device)
    columns = torch.arange(inputs.shape[3], device=inputs.device)
    below = rows[None, :, None] >= sizes[:, 0, None, None]
    right = columns[None, None, :] >= sizes[:, 1, None, None]
    return (below | right)[:, None]
