"""Outputs of dense heads in one form: logits and boxes of every prior."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import torch
from mmdet.models.dense_heads import (
    AnchorHead,
    AutoAssignHead,
    FCOSHead,
    GFLHead,
    GuidedAnchorHead,
    RTMDetHead,
    TOODHead,
    VFNetHead,
)
from mmdet.structures.bbox import get_box_tensor
from mmrotate.models.dense_heads import (
    AngleBranchRetinaHead,
    R3RefineHead,
    RotatedFCOSHead,
    RotatedRTMDetHead,
    S2ARefineHead,
)
from torch import Tensor

from aerialkd.errors import ConfigError
from aerialkd.structures.scaling import scaled_boxes


def flatten_levels(levels: Sequence[Tensor], channels: int) -> Tensor:
    """List the priors of all levels: (N, A * channels, H_l, W_l) -> (N, L, channels).

    In mmdet's order: levels, rows, columns, the A priors of a cell.

    Example:
        >>> flatten_levels([torch.zeros(2, 6, 4, 4), torch.zeros(2, 6, 2, 2)], 3).shape
        torch.Size([2, 40, 3])
    """
    return torch.cat(
        [x.permute(0, 2, 3, 1).reshape(len(x), -1, channels) for x in levels], 1
    )


def flatten_deltas(head: Any, bbox_preds: Sequence[Tensor]) -> Tensor:
    """List the encoded boxes of an anchor head: maps (N, A * D, H_l, W_l) -> (N, L, D).

    Args:
        head: the dense head that made them.
        bbox_preds: its raw outputs.

    Raises:
        ConfigError: if they are no deltas to anchors, but points or distributions.
    """
    coder = getattr(head, 'bbox_coder', None)
    size = getattr(coder, 'encode_size', 0)
    channels = bbox_preds[0].shape[1]
    if not isinstance(head, AnchorHead) or channels != head.num_base_priors * size:
        raise ConfigError(
            f'{type(head).__name__}: got {channels} channels of boxes encoded by '
            f'{type(coder).__name__}, expected deltas to anchors, {size} for each: '
            'RetinaNet, ATSS and their rotated kin have them. Distributions and points '
            'need a loss on decoded boxes (ResponsiveLoss).'
        )
    return flatten_levels(bbox_preds, size)


def box_bins(head: Any) -> Tensor:
    """Values of the bins over which a head distributes each coordinate of a box.

    Raises:
        ConfigError: if the head predicts coordinates, not distributions.
    """
    bins = head.integral.project if isinstance(head, GFLHead) else None
    bins = getattr(head, 'box_bins', bins)
    if bins is None:
        raise ConfigError(
            f'{type(head).__name__}: predicts the coordinates of a box as numbers, '
            'expected a distribution over bins for each: GFL, YOLOv8 and '
            'DistributionRotatedRetinaHead have them. Use one of these in student and '
            'teacher, or another method (ResponsiveLoss compares any boxes).'
        )
    return bins


def select_priors(levels: Sequence[Tensor], channels: int, chosen: Tensor) -> Tensor:
    """Outputs of some priors, without a copy of all of them.

    Args:
        levels: maps (N, A * channels, H_l, W_l).
        channels: of a prior.
        chosen: (N, L) bool, in the order of :func:`flatten_levels`.

    Returns:
        (P, channels), in the order of :func:`select_values`.

    Example:
        >>> maps = [torch.arange(4.).view(1, 1, 1, 4)]
        >>> select_priors(maps, 1, torch.tensor([[True, False, True, True]])).tolist()
        [[0.0], [2.0], [3.0]]
    """
    selected = []
    for level, of_level in zip(levels, _split(levels, channels, chosen), strict=True):
        number = len(level)
        by_cell = of_level.view(number, *level.shape[-2:], -1)  # (N, H, W, A)
        image, y, x, prior = by_cell.nonzero(as_tuple=True)
        selected.append(level.unflatten(1, (-1, channels))[image, prior, :, y, x])
    return torch.cat(selected)


def select_values(
    values: Tensor, levels: Sequence[Tensor], channels: int, chosen: Tensor
) -> Tensor:
    """Values (N, L) of the chosen priors in the order of :func:`select_priors`, (P,).

    Levels come first there, then images.
    """
    parts = (_split(levels, channels, x) for x in (values, chosen))
    return torch.cat([value[of_level] for value, of_level in zip(*parts, strict=True)])


def _split(
    levels: Sequence[Tensor], channels: int, values: Tensor
) -> tuple[Tensor, ...]:
    """Take (N, L, ...) apart into levels."""
    return values.split([level[0].numel() // channels for level in levels], 1)


# What a generator of anchors makes of its settings.
_DERIVED = {'base_sizes', 'base_anchors'}
# Settings of prior generators that are lengths in the image.
LENGTHS = {'strides', 'base_sizes', 'base_anchors', 'centers'}


def settings_of(part: Any, scale: float = 1.0) -> str:
    """Type and settings of a prior generator or box coder, to compare or to print.

    Args:
        part: the generator or coder.
        scale: factor of a generator's lengths.
    """
    return f'{type(part).__name__}({_settings(part, scale)})'


def _settings(part: Any, scale: float) -> dict[str, Any]:
    return {
        name: _plain(value, scale if name in LENGTHS else 1.0)
        for name, value in vars(part).items()
    }


def differing_settings(one: Any, other: Any, scale: float = 1.0) -> tuple[str, str]:
    """Two generators or coders, with the settings alone that differ.

    Args:
        one: a prior generator or box coder.
        other: another.
        scale: factor of the lengths of the first one.
    """
    both = _settings(one, scale), _settings(other, 1.0)
    names = [
        name
        for name in dict.fromkeys((*both[0], *both[1]))
        if both[0].get(name) != both[1].get(name)
    ]
    given = [name for name in names if name not in _DERIVED]
    names = given or names
    first, second = (', '.join(f'{n}={x[n]}' for n in names if n in x) for x in both)
    return f'{type(one).__name__}({first})', f'{type(other).__name__}({second})'


def same_grid(one: Any, other: Any, scale: float = 1.0) -> bool:
    """Whether two generators make the same priors, in whatever words.

    Args:
        one: a prior generator.
        other: another.
        scale: factor of the lengths of the first one.
    """
    if len(one.strides) != len(other.strides):
        return False
    sizes = [(2, 2)] * len(one.strides)  # steps and offsets show in two cells
    levels = (part.grid_priors(sizes, device='cpu') for part in (one, other))
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-3)
        for a, b in (
            (scaled_boxes(get_box_tensor(a), scale), get_box_tensor(b))
            for a, b in zip(*levels, strict=True)
        )
    )


def _plain(value: Any, scale: float) -> Any:
    """Lists as tuples and tensors as numbers, so that equal settings look equal."""
    if isinstance(value, Tensor):
        return _plain(value.tolist(), scale)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item, scale) for item in value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(f'{value * scale:.6g}')
    return value


def sums_of_cells(
    values: Tensor, sizes: Sequence[tuple[int, int]]
) -> tuple[Tensor, ...]:
    """Add up the priors of each cell: (N, L) -> maps (N, H_l, W_l) of the given sizes.

    Example:
        >>> [m.tolist() for m in sums_of_cells(torch.ones(1, 4), [(1, 2)])]
        [[[[2.0, 2.0]]]]
    """
    cells = [height * width for height, width in sizes]
    summed = values.view(len(values), sum(cells), -1).sum(-1)
    levels = zip(summed.split(cells, 1), sizes, strict=True)
    return tuple(level.reshape(-1, *size) for level, size in levels)


def decode_boxes(head: Any, bbox_preds: Sequence[Tensor]) -> Tensor:
    """Boxes that a dense head predicts at every prior, before any selection.

    Serves anchors (RetinaNet, ATSS and their rotated kin), distributions (GFL,
    YOLOv8) and points (FCOS, RTMDet). ``bbox_preds`` are the head's outputs in
    training mode, as ``HeadOutputs`` records them.

    Args:
        head: the dense head that made them.
        bbox_preds: maps (N, A * D, H_l, W_l).

    Returns:
        (N, L, 4) as x1, y1, x2, y2 or (N, L, 5) as cx, cy, w, h, angle, in pixels of
        the padded batch.

    Raises:
        ConfigError: if the head encodes its boxes in a way that is not known.
    """
    sizes = [tuple(level.shape[-2:]) for level in bbox_preds]
    device = bbox_preds[0].device
    if len(sizes) != len(head.prior_generator.strides):
        raise ConfigError(
            f'{type(head).__name__}: got boxes of {len(sizes)} levels, expected '
            f'{len(head.prior_generator.strides)}, one a stride; correct its strides, '
            "or the neck's num_outs."
        )
    priors = head.prior_generator.grid_priors(sizes, device=device)
    counts = torch.tensor([len(level) for level in priors])
    priors = torch.cat([get_box_tensor(level) for level in priors])  # (L, 2, 4 or 5)
    priors_per_cell = int(counts[0]) // (sizes[0][0] * sizes[0][1])
    width = bbox_preds[0].shape[1] // priors_per_cell
    preds = flatten_levels(bbox_preds, width).float()  # (N, L, D)
    strides = _strides(head, counts, device)
    return _decode(head, preds, priors, strides)


@singledispatch
def _decode(head: Any, preds: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
    """Decode (N, L, D); the nearest registered base class of the head decides."""
    if not hasattr(head, 'decode'):
        _refuse(head, preds, priors, strides)
    return head.decode(preds, priors, strides[:, 0])


@_decode.register(AnchorHead)
def _with_coder(head: Any, preds: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
    if hasattr(head, 'deltas'):  # distributions of deltas
        preds = head.deltas(preds)
    every = priors.repeat(len(preds), 1)  # the coders for rotated boxes take no batch
    boxes = get_box_tensor(head.bbox_coder.decode(every, preds.flatten(0, 1)))
    return boxes.view(*preds.shape[:2], -1)


@_decode.register(GFLHead)
def _distribution(head: Any, preds: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
    distances = head.integral(preds.flatten(0, 1)).view(*preds.shape[:2], 4) * strides
    centres = head.anchor_center(priors).expand(len(preds), -1, -1)
    return head.bbox_coder.decode(centres, distances)


@_decode.register(FCOSHead)
def _distance(head: Any, preds: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
    # Normalised distances are multiplied by the stride in evaluation mode only.
    distances = preds * strides if head.norm_on_bbox else preds
    return head.bbox_coder.decode(priors.expand(len(preds), -1, -1), distances)


@_decode.register(RTMDetHead)
def _pixels(head: Any, preds: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
    return head.bbox_coder.decode(priors.expand(len(preds), -1, -1), preds)


# Derived from the classes above, but with boxes encoded or refined otherwise.
@_decode.register(AutoAssignHead)
@_decode.register(GuidedAnchorHead)
@_decode.register(TOODHead)
@_decode.register(VFNetHead)
@_decode.register(AngleBranchRetinaHead)
@_decode.register(R3RefineHead)
@_decode.register(RotatedFCOSHead)
@_decode.register(RotatedRTMDetHead)
@_decode.register(S2ARefineHead)
def _refuse(head: Any, preds: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
    raise ConfigError(
        f'{type(head).__name__}: how it encodes boxes is not known. Served are the '
        'heads of RetinaNet, ATSS, GFL, FCOS, RTMDet, YOLOv8 and rotated RetinaNet; '
        'another one needs a method decode(bbox_preds (N, L, D), priors, strides '
        '(L,)) that returns boxes (N, L, 4) or (N, L, 5).'
    )


def _strides(head: Any, counts: Tensor, device: torch.device) -> Tensor:
    """Pixels a cell for each prior, (L, 1)."""
    strides = torch.tensor([float(max(pair)) for pair in head.prior_generator.strides])
    return strides.repeat_interleave(counts)[:, None].to(device)
