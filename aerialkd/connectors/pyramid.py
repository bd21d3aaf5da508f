"""Connectors that act on every level of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from aerialkd.errors import ShapeError
from aerialkd.registry import MODELS


@MODELS.register_module()
class PyramidAligner(BaseModule):
    """One convolution for each level, from the student's channels to the teacher's.

    Losses that name the same connector share it, and the distiller runs it once a
    step. It is trained with the student and is not part of the exported model.

    Args:
        in_channels: channels of the student's maps.
        out_channels: channels of the teacher's maps.
        num_levels: number of levels.
        kernel_size: side of the square kernel, odd.
        init_cfg: initialisation; Kaiming-uniform (PyTorch's default) when omitted.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_levels: int,
        kernel_size: int = 1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
            for _ in range(num_levels)
        )

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Align a tuple of (N, C_in, H_l, W_l) to (N, C_out, H_l, W_l).

        Raises:
            ShapeError: if the number of levels differs from ``num_levels``.
        """
        if len(levels) != len(self.convs):
            raise ShapeError(
                f'PyramidAligner was built for {len(self.convs)} levels, got '
                f"{len(levels)}. Set num_levels, or choose levels with 'levels' in "
                'loss_forward_mappings.'
            )
        return tuple(
            conv(level) for conv, level in zip(self.convs, levels, strict=True)
        )
