"""Inputs of operators, and what mmcv's compiled operators gave for them.

``python -m tests.ops.cases`` writes ``compiled.npz`` anew, in an environment with
compiled operators (``make setup OPS=compiled``).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from mmcv import ops
from torch import Tensor

STORED = Path(__file__).parent / 'compiled.npz'


def scene(n: int, objects: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rotated boxes around objects, as before suppression; scores of which many tie."""
    rng = torch.Generator().manual_seed(seed)
    owner = torch.randint(objects, (n,), generator=rng)
    centre = torch.rand(objects, 2, generator=rng) * 200
    size = torch.rand(objects, 2, generator=rng) * 30 + 6
    angle = torch.rand(objects, 1, generator=rng) * 4 - 2
    boxes = torch.cat([centre, size, angle], 1)[owner]
    boxes = boxes + torch.randn(n, 5, generator=rng) * torch.tensor([3, 3, 2, 2, 0.1])
    boxes[:, 2:4].clamp_(min=1)
    scores = (torch.rand(n, generator=rng) * 40).round() / 40
    return boxes, scores


def adversarial() -> Tensor:
    """Rotated boxes that meet in every degenerate way, (n, 5)."""
    turn = math.pi / 4
    return torch.tensor(
        [
            [50, 50, 20, 10, 0],  # itself
            [50, 50, 10, 20, math.pi / 2],  # the same outline, another description
            [50, 50, 20, 10, math.pi],
            [70, 50, 20, 10, 0],  # touches along a side
            [70, 60, 20, 10, 0],  # touches in a corner
            [50, 50, 20, 10, turn],
            [50, 50, 10, 10, turn],
            [50, 50, 10, 10, 0],  # eight corners of an octagon
            [50, 50, 100, 0.1, 0.3],  # thin
            [50, 50, 100, 0.1, -0.3],
            [50, 50, 4, 4, 0.1],  # inside of others
            [50, 50, 0, 10, 0],  # empty
            [50, 50, 0, 0, turn],
            [50.0001, 50, 20, 10, 1e-5],  # almost the first
            [1e4, 1e4, 20, 10, 0.5],  # far away
            [1e4 + 3, 1e4, 20, 10, 0.4],
        ]
    )


def upright(boxes: Tensor) -> Tensor:
    """Horizontal boxes of the same centres and sizes, (n, 4)."""
    return torch.cat(
        [boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], 1
    )


def corners_of(boxes: Tensor) -> Tensor:
    """Corners of rotated boxes, (n, 8)."""
    cos, sin = boxes[:, 4].cos(), boxes[:, 4].sin()
    unit = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]]).to(boxes) / 2
    local = unit * boxes[:, None, 2:4]
    turn = torch.stack([cos, sin, -sin, cos], 1).reshape(-1, 2, 2)
    return (local @ turn + boxes[:, None, :2]).flatten(1)


def suppression_inputs() -> dict[str, tuple[Tensor, Tensor]]:
    """Rotated boxes and scores by name."""
    odd = adversarial()
    return {
        'crowd': scene(300, 12, 0),
        'sparse': scene(200, 90, 1),
        'odd': (odd, torch.linspace(0.9, 0.1, len(odd))),
        'all the same': (odd[:1].repeat(7, 1), torch.full((7,), 0.5)),
        'one': (odd[:1], torch.tensor([0.3])),
    }


Case = Callable[[], list[Tensor]]


def cases(device: str = 'cpu') -> dict[str, Case]:
    """Calls of ``mmcv.ops`` by name; each returns tensors."""
    found: dict[str, Case] = {}
    for name, pair in suppression_inputs().items():
        boxes, scores = (tensor.to(device) for tensor in pair)
        flat = upright(boxes)
        for threshold in (0.1, 0.5, 0.7):
            for offset in (0, 1):
                found[f'nms/{name}/{threshold}/{offset}'] = bind(
                    ops.nms, flat, scores, threshold, offset
                )
            found[f'nms_rotated/{name}/{threshold}'] = bind(
                ops.nms_rotated, boxes, scores, threshold
            )
        for method in ('naive', 'linear', 'gaussian'):
            found[f'soft_nms/{name}/{method}'] = bind(
                ops.soft_nms, flat, scores, 0.4, 0.5, 0.1, method
            )
    odd, (crowd, _) = adversarial().to(device), scene(60, 6, 2)
    crowd = crowd.to(device)
    for mode in ('iou', 'iof'):
        for aligned in (False, True):
            name = f'{mode}/{"aligned" if aligned else "all"}'
            found[f'box_iou_rotated/random/{name}'] = bind(
                ops.box_iou_rotated, crowd, crowd.flip(0), mode, aligned
            )
            found[f'box_iou_rotated/odd/{name}'] = bind(
                ops.box_iou_rotated, odd, odd.flip(0), mode, aligned
            )
    for aligned in (False, True):
        for ratio in (0, 2):
            found[f'roi_align/{aligned}/{ratio}'] = _roi_align(aligned, ratio, device)
    for name, settings in CONVOLUTIONS.items():
        found[f'deform_conv2d/{name}'] = _convolution(settings, False, device)
        found[f'modulated_deform_conv2d/{name}'] = _convolution(settings, True, device)
    return found


def bind(function: Callable[..., Any], *args: Any) -> Case:
    """A call without arguments that returns a list of tensors."""

    def call() -> list[Tensor]:
        result = function(*args)
        return list(result) if isinstance(result, tuple) else [result]

    return call


def _roi_align(aligned: bool, ratio: int, device: str) -> Case:
    rng = torch.Generator().manual_seed(3)
    features = torch.rand(2, 3, 13, 17, generator=rng)
    rois = torch.tensor(
        [
            [0, 4, 4, 60, 40],
            [1, 0, 0, 136, 104],  # the whole map
            [1, -30, -20, 20, 15],  # partly beside it
            [0, 100, 70, 190, 150],
            [0, 300, 300, 340, 340],  # beside it
            [1, 33, 21, 33, 21],  # empty
        ]
    ).float()

    def call() -> list[Tensor]:
        x = features.to(device, copy=True).requires_grad_()
        y = ops.roi_align(x, rois.to(device), (3, 5), 0.125, ratio, 'avg', aligned)
        (y * _weights(y)).sum().backward()
        return [y, x.grad]

    return call


CONVOLUTIONS = {
    'plain': dict(),
    'strided': dict(stride=2, padding=1, dilation=2),
    'groups': dict(groups=2, padding=1),
    'deform groups': dict(deform_groups=2, padding=(0, 2)),
    'far': dict(padding=1, reach=30.0),
    'unmoved': dict(padding=1, reach=0.0),
}


def _convolution(settings: dict[str, Any], modulated: bool, device: str) -> Case:
    settings = dict(settings)
    reach = settings.pop('reach', 1.5)
    rng = torch.Generator().manual_seed(4)
    groups, deform_groups = settings.get('groups', 1), settings.get('deform_groups', 1)
    shape = torch.nn.functional.conv2d(
        torch.zeros(2, 4, 9, 11),
        torch.zeros(6, 4 // groups, 3, 2),
        **{k: v for k, v in settings.items() if k != 'deform_groups'},
    ).shape[2:]
    values = [
        torch.randn(2, 4, 9, 11, generator=rng),
        torch.randn(2, deform_groups * 12, *shape, generator=rng) * reach,
        torch.randn(6, 4 // groups, 3, 2, generator=rng),
        torch.rand(2, deform_groups * 6, *shape, generator=rng),
        torch.randn(6, generator=rng),
    ]

    def call() -> list[Tensor]:
        x, offset, weight, mask, bias = (
            value.to(device, copy=True).requires_grad_() for value in values
        )
        if modulated:
            inputs = [x, offset, mask, weight, bias]
            y = ops.modulated_deform_conv2d(
                *inputs, *_in_order(settings, groups, deform_groups)
            )
        else:
            inputs = [x, offset, weight]
            y = ops.deform_conv2d(*inputs, *_in_order(settings, groups, deform_groups))
        (y * _weights(y)).sum().backward()
        return [y, *(leaf.grad for leaf in inputs)]

    return call


def _in_order(settings: dict[str, Any], groups: int, deform_groups: int) -> list[Any]:
    shape = [settings.get(k, d) for k, d in (('stride', 1), ('padding', 0))]
    return [*shape, settings.get('dilation', 1), groups, deform_groups]


def _weights(y: Tensor) -> Tensor:
    """Different weights of all outputs, so that no gradient can be mistaken."""
    return torch.arange(y.numel(), device=y.device).reshape(y.shape).sin()


def put_behind_mmcv(extension: ModuleType, monkeypatch: Any) -> None:
    """Let ``mmcv.ops`` call the kernels of a module, whatever is installed."""
    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
            monkeypatch.setattr(module, 'ext_module', extension)


def main() -> None:
    arrays = {}
    for name, call in cases().items():
        for index, tensor in enumerate(call()):
            arrays[f'{name}#{index}'] = tensor.detach().numpy()
    np.savez_compressed(STORED, **arrays)


if __name__ == '__main__':
    main()
