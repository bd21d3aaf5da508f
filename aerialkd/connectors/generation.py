"""Blocks that regenerate a masked feature map."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from aerialkd.registry import MODELS


@MODELS.register_module()
class GenerationBlock(BaseModule):
    """Convolution, ReLU, convolution: MGD's generation block.

    Yang et al., ECCV 2022, eq. 3: ``W_2(ReLU(W_1(masked features)))``.

    Args:
        channels: of the map, in, between and out.
        kernels: sides of the two kernels, odd; (3, 3) in MGD. A kernel of 1 mixes the
            channels of a cell only.
        init_cfg: initialisation; Kaiming-uniform (PyTorch's default) when omitted.
    """

    def __init__(
        self,
        channels: int,
        kernels: Sequence[int] = (3, 3),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        first, second = kernels
        self.mask_conv = nn.Conv2d(channels, channels, first, padding=first // 2)
        self.relu = nn.ReLU(inplace=True)  # nothing else reads what it overwrites
        self.regenerate_conv = nn.Conv2d(
            channels, channels, second, padding=second // 2
        )

    def forward(self, masked: Tensor, valid: Tensor | None = None) -> Tensor:
        """Regenerate a map.

        Args:
            masked: (N, C, H, W).
            valid: (N, H, W) bool, cells that the image covers. The others are kept at
                0 between the convolutions, like the border of an image alone.
        """
        hidden = self.relu(self.mask_conv(masked))
        if valid is not None and self.regenerate_conv.padding != (0, 0):
            hidden = hidden * valid[:, None]
        return self.regenerate_conv(hidden)
