"""Blocks that regenerate a masked feature map."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from aerialkd.arguments import Count, OddCount
from aerialkd.registry import MODELS


@MODELS.register_module()
class GenerationBlock(BaseModule):
    """Convolution, ReLU, convolution: MGD's generation block.

    Yang et al., ECCV 2022, eq. 3: ``W_2(ReLU(W_1(masked features)))``.

    Args:
        channels: of the map, in and out.
        hidden: channels between the convolutions; ``channels`` when omitted, as in MGD.
        kernel_size: side of both kernels, odd. 1 mixes the channels of a cell only.
        init_cfg: initialisation; Kaiming-uniform (PyTorch's default) when omitted.
    """

    def __init__(
        self,
        channels: Count,
        hidden: Count | None = None,
        kernel_size: OddCount = 3,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = channels
        hidden = channels if hidden is None else hidden
        pad = kernel_size // 2
        self.mask_conv = nn.Conv2d(channels, hidden, kernel_size, padding=pad)
        self.relu = nn.ReLU(inplace=True)  # nothing else reads what it overwrites
        self.regenerate_conv = nn.Conv2d(hidden, channels, kernel_size, padding=pad)

    def forward(self, masked: Tensor, valid: Tensor | None = None) -> Tensor:
        """Regenerate a map.

        Args:
            masked: (N, C, H, W).
            valid: (N, H, W) bool, cells that the image covers. The others are kept at
                0 between the convolutions, like the border of an image alone.
        """
        hidden = self.relu(self.mask_conv(masked))
        if valid is not None:
            hidden = hidden * valid[:, None]
        return self.regenerate_conv(hidden)
