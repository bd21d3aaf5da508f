"""The contract of a distillation loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aerialkd.arguments import NotNegative
from aerialkd.connectors.pyramid import takes_channels
from aerialkd.errors import ShapeError
from aerialkd.structures import BatchContext

Levels = Tensor | Sequence[Tensor]
Maps = dict[str, tuple[Tensor, ...]]


class DistillLoss(nn.Module):
    """Base of the distillation losses.

    A subclass defines ``forward(preds_S, preds_T, batch=None)``: each of ``preds_S``
    and ``preds_T`` is a map (N, C, H, W) or a tuple of levels of such maps; the
    result is a scalar, summed over levels. A loss that declares ``batch`` receives
    the :class:`aerialkd.structures.BatchContext` without a mapping in the config.
    :meth:`spatial_maps`, where a subclass defines it, shows in pictures what it sees.

    Args:
        loss_weight: factor of the loss in the total.
    """

    def __init__(self, loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def masks(self, preds_T: Levels, batch: BatchContext) -> Maps:
        """What the teacher and the boxes select, whatever the student does.

        Attention, masks, weights of areas: what ``tools/show_masks.py`` draws.

        Returns:
            By name, a map (N, H_l, W_l) for each level of the predictions; empty
            unless a subclass says otherwise.
        """
        return {}

    @torch.no_grad()
    def spatial_maps(
        self, preds_S: Levels, preds_T: Levels, batch: BatchContext | None = None
    ) -> Maps:
        """What the loss looks at, for pictures; no gradient.

        Called with the arguments of ``forward``. A subclass returns what a reader
        should see, such as a cell's share of the loss; :meth:`masks` by default.

        Returns:
            By name, a map (N, H_l, W_l) for each level of the predictions.
        """
        return {} if batch is None else self.masks(preds_T, batch)

    def extra_repr(self) -> str:
        """Show the weight when the model is printed."""
        return f'loss_weight={self.loss_weight}'


def level_pairs(preds_S: Levels, preds_T: Levels) -> list[tuple[Tensor, Tensor]]:
    """Pair the levels of student and teacher; a single map is one level.

    Raises:
        ShapeError: if the numbers of levels differ, or they are no maps.
    """
    students = [preds_S] if isinstance(preds_S, Tensor) else list(preds_S)
    teachers = [preds_T] if isinstance(preds_T, Tensor) else list(preds_T)
    other = next((x for x in students + teachers if not isinstance(x, Tensor)), None)
    if other is not None:
        raise ShapeError(
            f'Got a {type(other).__name__} for a level, expected maps (N, C, H, W): a '
            "record of the neck, or of a head (type='HeadOutputs') with data_idx=0 for "
            'the class scores.'
        )
    if len(students) != len(teachers):
        raise ShapeError(
            f'The student has {len(students)} levels, the teacher {len(teachers)}. '
            "Choose the common ones with 'levels' in loss_forward_mappings."
        )
    return list(zip(students, teachers, strict=True))


def built_pairs(
    loss: nn.Module, built: nn.ModuleList, preds_S: Levels, preds_T: Levels
) -> list[tuple[Tensor, Tensor]]:
    """:func:`level_pairs` for a loss that has a trainable piece for each level.

    Args:
        loss: named in the error.
        built: its pieces, one a level.
        preds_S: the student's map or levels.
        preds_T: the teacher's.

    Raises:
        ShapeError: if the numbers of levels and pieces differ, or the student's
            channels are not those that a piece takes.
    """
    pairs = level_pairs(preds_S, preds_T)
    if len(pairs) != len(built):
        raise ShapeError(
            f'{type(loss).__name__} was built for {len(built)} levels, got '
            f"{len(pairs)}. Set channels and num_levels, or choose 'levels' in "
            'loss_forward_mappings.'
        )
    for level, ((s, _), piece) in enumerate(zip(pairs, built, strict=True)):
        takes_channels(f'{type(loss).__name__}, level {level}', s, piece.in_channels)
    return pairs


def distance_of_rotated(loss: nn.Module, s: Tensor, t: Tensor) -> Tensor:
    """A loss of rotated boxes, (n, 5) x2 -> (n,), in double precision.

    In single precision the covariances of thin boxes (4000 x 0.5 px) have no
    determinant, and Gaussian losses are not a number.
    """
    value = loss(s.double(), t.detach().double(), reduction_override='none')
    return value.to(s.dtype)


def map_size(level: Tensor) -> tuple[int, int]:
    """Height and width of a map (..., H, W)."""
    return int(level.shape[-2]), int(level.shape[-1])
