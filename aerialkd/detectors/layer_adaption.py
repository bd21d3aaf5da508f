"""ZoomInNet's LA: dense heads that predict on a finer grid than their maps have."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from mmdet.models.dense_heads import GFLHead, RetinaHead
from torch import Tensor, nn

from aerialkd.arguments import AtLeastOne
from aerialkd.errors import ConfigError
from aerialkd.registry import MODELS


class LayerAdaption:
    """Mixin: nearest upsampling between a head's stacked and prediction convolutions.

    The predictions have ``upsample`` times the rows and columns of the maps, and the
    priors that many times smaller strides and sizes. It costs the prediction
    convolutions alone: in ZoomInNet 4.75 of 58.05 G multiply-adds (table 3).

    Args:
        args: as for the head.
        upsample: how many times finer; 2 in ZoomInNet, 1.5 for a teacher at 1.5 times
            the scale.
        anchor_generator: the head's own, with the strides of the *maps*, as without LA;
            they are divided by ``upsample`` here.
        kwargs: as for the head.
    """

    predictors: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *args: Any,
        upsample: AtLeastOne = 2,
        anchor_generator: dict,
        **kwargs: Any,
    ) -> None:
        if 'strides' not in anchor_generator:
            raise ConfigError(
                f'{type(self).__name__}.anchor_generator: got no strides, expected '
                'those of the maps that the head is given.'
            )
        self.upsample = upsample
        strides = [_divided(stride, upsample) for stride in anchor_generator['strides']]
        kwargs['anchor_generator'] = {**anchor_generator, 'strides': strides}
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()  # type: ignore[misc]
        for name in self.predictors:
            setattr(self, name, _UpsampledConv2d(getattr(self, name), self.upsample))


@MODELS.register_module()
class LARetinaHead(LayerAdaption, RetinaHead):
    """``mmdet.RetinaHead`` with :class:`LayerAdaption`, horizontal or rotated.

    Parameters have the names and shapes of ``mmdet.RetinaHead``.
    """

    predictors = ('retina_cls', 'retina_reg')


@MODELS.register_module()
class LAGFLHead(LayerAdaption, GFLHead):
    """``mmdet.GFLHead`` with :class:`LayerAdaption`.

    Parameters have the names and shapes of ``mmdet.GFLHead``.
    """

    predictors = ('gfl_cls', 'gfl_reg')


class _UpsampledConv2d(nn.Conv2d):
    """A convolution of the upsampled map, with the parameters of another."""

    def __init__(self, conv: nn.Conv2d, upsample: float) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            bias=conv.bias is not None,
        )
        self.upsample = float(upsample)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(
            F.interpolate(x, scale_factor=self.upsample, mode='nearest')
        )


def _divided(stride: Any, factor: float) -> Any:
    if isinstance(stride, (list, tuple)):
        return tuple(_divided(item, factor) for item in stride)
    return stride / factor
