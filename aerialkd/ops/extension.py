"""The module that stands in for ``mmcv._ext`` where mmcv was not compiled.

mmcv's Python part calls these functions by name, with tensors to write the results to,
and does the rest: autograd functions, modules, ``batched_nms``. Gradients are those of
the plain operators, computed anew in the backward pass.
"""

from __future__ import annotations

import importlib.machinery
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aerialkd.errors import EnvironmentProblem
from aerialkd.ops import areas, focal, sampling, suppression

Operator = Callable[..., Any]


def build(operators: dict[str, Operator], remedy: str) -> SubstituteExtension:
    """The module, from the operators of a backend.

    Args:
        operators: by the names of :data:`PLAIN`.
        remedy: what to do about an operator that is not among them.
    """
    return SubstituteExtension(_functions(operators), remedy)


class SubstituteExtension(types.ModuleType):
    """A module that has every name; what is not there says so when it is called."""

    def __init__(self, functions: dict[str, Operator], remedy: str) -> None:
        super().__init__('mmcv._ext', __doc__)
        # find_spec() raises ValueError for a module without a spec.
        self.__spec__ = importlib.machinery.ModuleSpec(self.__name__, None)
        vars(self).update(functions)
        self._remedy = remedy

    def __getattr__(self, name: str) -> Operator:
        if name.startswith('_'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> Any:
            raise EnvironmentProblem(
                f"mmcv's operator {name} is needed here, which has to be compiled. "
                f'Fix: {self._remedy}'
            )

        return missing


PLAIN: dict[str, Operator] = {
    'nms': suppression.keep_horizontal,
    'soft_nms': suppression.soften,
    'nms_rotated': suppression.keep_rotated,
    'nms_quadri': suppression.keep_quadrilaterals,
    'box_iou_rotated': areas.rotated_overlaps,
    'box_iou_quadri': areas.quadrilateral_overlaps,
    'roi_align': sampling.roi_align,
    'deform_conv2d': sampling.deform_conv,
    'modulated_deform_conv2d': sampling.deform_conv,
    'sigmoid_focal_loss': focal.sigmoid_focal_loss,
}
"""Operators in plain torch by the names that they have in ``mmcv.ops``."""


def _functions(operators: dict[str, Operator]) -> dict[str, Operator]:
    """Kernels by mmcv's names, with its arguments, of which some are not needed."""

    def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
        return operators['nms'](boxes, scores, iou_threshold, offset)

    def softnms(boxes: Tensor, scores: Tensor, dets: Tensor, **settings: Any) -> Tensor:
        chosen, index = operators['soft_nms'](boxes, scores, **settings)
        dets[: len(chosen)] = chosen
        return index

    def nms_rotated(
        dets: Tensor,
        scores: Tensor,
        order: Tensor,
        dets_sorted: Tensor,
        labels: Tensor,
        iou_threshold: float,
        multi_label: bool,
    ) -> Tensor:
        classes = labels if multi_label else None
        return operators['nms_rotated'](dets[:, :5], scores, iou_threshold, classes)

    def nms_quadri(
        dets: Tensor,
        scores: Tensor,
        order: Tensor,
        dets_sorted: Tensor,
        iou_threshold: float,
        multi_label: bool,
    ) -> Tensor:
        classes = dets[:, 8] if multi_label else None
        return operators['nms_quadri'](dets[:, :8], scores, iou_threshold, classes)

    def box_iou(name: str, columns: int) -> Operator:
        def fill(
            boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool
        ) -> None:
            # mmrotate's metric leaves the scores behind the boxes.
            boxes1, boxes2 = boxes1[:, :columns], boxes2[:, :columns]
            mode = 'iof' if mode_flag else 'iou'
            ious.copy_(operators[name](boxes1, boxes2, mode, aligned).reshape_as(ious))

        return fill

    return {
        'nms': nms,
        'softnms': softnms,
        'nms_rotated': nms_rotated,
        'nms_quadri': nms_quadri,
        'box_iou_rotated': box_iou('box_iou_rotated', 5),
        'box_iou_quadri': box_iou('box_iou_quadri', 8),
        **_roi_align(operators['roi_align']),
        **_deform_conv(operators['deform_conv2d'], PLAIN['deform_conv2d']),
        **_modulated_deform_conv(
            operators['modulated_deform_conv2d'], PLAIN['modulated_deform_conv2d']
        ),
        **_sigmoid_focal_loss(operators['sigmoid_focal_loss']),
        # What mmengine and mmdet print about the environment.
        'get_compiler_version': lambda: 'not compiled',
        'get_compiling_cuda_version': lambda: 'not available',
    }


def _roi_align(operator: Operator) -> dict[str, Operator]:
    def call(features: Tensor, rois: Tensor, settings: dict[str, Any]) -> Tensor:
        if settings['pool_mode'] == 0:
            raise EnvironmentProblem(
                "RoIAlign: got pool_mode='max', which has to be compiled. "
                "Fix: pool_mode='avg', or make setup OPS=compiled"
            )
        return operator(
            features,
            rois,
            (settings['aligned_height'], settings['aligned_width']),
            settings['spatial_scale'],
            settings['sampling_ratio'],
            settings['aligned'],
        )

    def forward(
        features: Tensor,
        rois: Tensor,
        output: Tensor,
        argmax_y: Tensor,
        argmax_x: Tensor,
        **settings: Any,
    ) -> None:
        output.copy_(_single(call, features, rois, settings))

    def backward(
        grad_output: Tensor,
        rois: Tensor,
        argmax_y: Tensor,
        argmax_x: Tensor,
        grad_input: Tensor,
        **settings: Any,
    ) -> None:
        # It is linear in the features: its gradient does not depend on their values.
        _add_gradients(call, (grad_input,), (rois, settings), grad_output, grad_input)

    return {'roi_align_forward': forward, 'roi_align_backward': backward}


def _deform_conv(operator: Operator, exact: Operator) -> dict[str, Operator]:
    # torchvision has another gradient than mmcv where a sample lies 1 pixel beside the
    # map, as all along the border do that were not moved yet.
    def call(
        features: Tensor,
        offset: Tensor,
        weight: Tensor,
        settings: dict[str, int],
        convolve: Operator = exact,
    ) -> Tensor:
        return convolve(
            features,
            offset,
            weight,
            None,
            None,
            (settings['dH'], settings['dW']),
            (settings['padH'], settings['padW']),
            (settings['dilationH'], settings['dilationW']),
            settings['group'],
            settings['deformable_group'],
        )

    def forward(
        features: Tensor,
        weight: Tensor,
        offset: Tensor,
        output: Tensor,
        *buffers: Tensor,
        **settings: int,
    ) -> None:
        output.copy_(_single(call, features, offset, weight, settings, operator))

    def backward_input(
        features: Tensor,
        offset: Tensor,
        grad_output: Tensor,
        grad_features: Tensor,
        grad_offset: Tensor,
        weight: Tensor,
        *buffers: Tensor,
        **settings: int,
    ) -> None:
        _add_gradients(
            call,
            (features, offset),
            (weight, settings),
            grad_output,
            grad_features,
            grad_offset,
        )

    def backward_parameters(
        features: Tensor,
        offset: Tensor,
        grad_output: Tensor,
        grad_weight: Tensor,
        *buffers: Tensor,
        **settings: Any,
    ) -> None:
        def of_weight(weight: Tensor, features: Tensor, offset: Tensor) -> Tensor:
            return call(features, offset, weight, settings)

        # It is linear in the weight, too.
        inputs = (features, offset)
        _add_gradients(of_weight, (grad_weight,), inputs, grad_output, grad_weight)

    return {
        'deform_conv_forward': forward,
        'deform_conv_backward_input': backward_input,
        'deform_conv_backward_parameters': backward_parameters,
    }


def _modulated_deform_conv(operator: Operator, exact: Operator) -> dict[str, Operator]:
    def call(
        features: Tensor,
        offset: Tensor,
        weight: Tensor,
        mask: Tensor,
        bias: Tensor,
        settings: dict[str, int],
        convolve: Operator = exact,
    ) -> Tensor:
        return convolve(
            features,
            offset,
            weight,
            mask,
            bias if settings['with_bias'] else None,
            (settings['stride_h'], settings['stride_w']),
            (settings['pad_h'], settings['pad_w']),
            (settings['dilation_h'], settings['dilation_w']),
            settings['group'],
            settings['deformable_group'],
        )

    def forward(
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        ones: Tensor,
        offset: Tensor,
        mask: Tensor,
        output: Tensor,
        columns: Tensor,
        **settings: int,
    ) -> None:
        inputs = (features, offset, weight, mask, bias)
        output.copy_(_single(call, *inputs, settings, operator))

    def backward(
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        ones: Tensor,
        offset: Tensor,
        mask: Tensor,
        columns: Tensor,
        grad_features: Tensor,
        grad_weight: Tensor,
        grad_bias: Tensor,
        grad_offset: Tensor,
        grad_mask: Tensor,
        grad_output: Tensor,
        **settings: int,
    ) -> None:
        inputs = (features, offset, weight, mask, bias)
        targets = (grad_features, grad_offset, grad_weight, grad_mask, grad_bias)
        _add_gradients(call, inputs, (settings,), grad_output, *targets)

    return {
        'modulated_deform_conv_forward': forward,
        'modulated_deform_conv_backward': backward,
    }


def _sigmoid_focal_loss(operator: Operator) -> dict[str, Operator]:
    def forward(
        logits: Tensor,
        target: Tensor,
        weight: Tensor,
        output: Tensor,
        gamma: float,
        alpha: float,
    ) -> None:
        output.copy_(_single(operator, logits, target, weight, gamma, alpha))

    def backward(
        logits: Tensor,
        target: Tensor,
        weight: Tensor,
        grad_logits: Tensor,
        gamma: float,
        alpha: float,
    ) -> None:
        ones = torch.ones_like(logits)
        others = (target, weight, gamma, alpha)
        _add_gradients(operator, (logits,), others, ones, grad_logits)

    return {
        'sigmoid_focal_loss_forward': forward,
        'sigmoid_focal_loss_backward': backward,
    }


def _single(call: Operator, *args: Any) -> Tensor:
    """Call an operator in single precision where the tensors have less."""
    result = call(*(_at_least_single(arg) for arg in args))
    return torch.as_tensor(result)


def _add_gradients(
    call: Operator,
    inputs: Sequence[Tensor],
    others: Sequence[Any],
    grad_output: Tensor,
    *targets: Tensor,
) -> None:
    """Add the gradients by ``inputs`` to ``targets``, of which some may not be used."""
    leaves = [_at_least_single(x.detach()).requires_grad_() for x in inputs]
    with torch.enable_grad():
        output = call(*leaves, *(_at_least_single(x) for x in others))
    if not output.requires_grad:  # of nothing
        return
    gradients = torch.autograd.grad(
        output, leaves, _at_least_single(grad_output), allow_unused=True
    )
    for target, gradient in zip(targets, gradients, strict=True):
        if gradient is not None:
            target += gradient


def _at_least_single(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.half, torch.bfloat16)
    return value.float() if half else value
