"""What a program around an ONNX graph must know: pre- and post-processing as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from aerialkd.errors import ConfigError
from aerialkd.structures import box_bins

if TYPE_CHECKING:
    from aerialkd.export.onnx_export import OnnxOptions

NOTES = [
    'Boxes of the padded input, in pixels; divide by the scale of the resizing.',
    'The cell (row, column) of a level lies at (column * stride_x, row * stride_y).',
    'Prior a of a cell is base_anchors[a] (x1, y1, x2, y2) shifted by the cell; with '
    'points instead of anchors it is the cell shifted by offset * stride.',
    'cls_score: channel a * channels_per_prior + class; with softmax the last class is '
    'the background.',
    'bbox_pred: channel a * box_values + coordinate. With bins, each coordinate c has '
    'the channels c * bins + bin instead, and is the expectation of their softmax over '
    'bin_values. Of points and GFL it is the distance in strides from the point (or '
    'the centre of the anchor) to the left, top, right and bottom side.',
    'bbox_coder is a class of mmdet or mmrotate: decode(priors, bbox_pred); where '
    'bbox_pred is a distance in strides, that times the stride.',
    'Then test_cfg: score_thr, nms_pre best of each level, nms, max_per_img.',
]


def output_names(head: Any, groups: Sequence[Sequence[Tensor]]) -> list[str]:
    """``cls_score_0``, ``cls_score_1``, ... ``bbox_pred_0`` ...: kind and level."""
    kinds = _kinds(head, len(groups))
    return [
        f'{kind}_{level}'
        for kind, group in zip(kinds, groups, strict=True)
        for level in range(len(group))
    ]


def model_card(
    detector: Any,
    groups: Sequence[Sequence[Tensor]],
    options: OnnxOptions,
    classes: Sequence[str],
    pipeline: Sequence[dict],
) -> dict[str, Any]:
    """Describe input, outputs and decoding of an exported detector.

    Args:
        detector: the detector.
        groups: the head's outputs for one image of ``options.size``.
        options: settings of the export.
        classes: class names.
        pipeline: the test pipeline.
    """
    head = detector.bbox_head
    levels = [
        dict(level=level, **prior)
        for level, prior in enumerate(_priors(head, len(groups[0])))
    ]
    return dict(
        detector=type(detector).__name__,
        head=type(head).__name__,
        opset=options.opset,
        classes=list(classes),
        preprocessing=_preprocessing(detector.data_preprocessor, pipeline),
        outputs=[
            dict(name=name, shape=['batch', tensor.shape[1], 'rows', 'columns'])
            for name, tensor in zip(
                output_names(head, groups), [t for g in groups for t in g], strict=True
            )
        ],
        levels=levels,
        decoding=dict(
            score='sigmoid' if getattr(head, 'use_sigmoid_cls', True) else 'softmax',
            channels_per_prior=getattr(head, 'cls_out_channels', None),
            reg_max=getattr(head, 'reg_max', None),
            **_bins(head),
            bbox_coder=_described(getattr(head, 'bbox_coder', None)),
            test_cfg=_plain(dict(detector.test_cfg or {})),
            notes=NOTES,
        ),
    )


def _kinds(head: Any, count: int) -> list[str]:
    """Names of the head's outputs, in the order of the heads in mmdet and mmrotate."""
    optional = {
        'angle_pred': ('conv_angle', 'rtm_ang'),
        'centerness': ('conv_centerness', 'atss_centerness'),
        'objectness': ('multi_level_conv_obj',),
    }
    kinds = ['cls_score', 'bbox_pred']
    for kind, attributes in optional.items():
        if any(hasattr(head, attribute) for attribute in attributes):
            kinds.append(kind)
    if len(kinds) != count:
        kinds = ['cls_score', *(f'output{index}' for index in range(1, count))]
    return kinds


def _bins(head: Any) -> dict[str, Any]:
    """Bins of a distribution; ``reg_max`` is their number, or the last of them."""
    try:
        values = box_bins(head).tolist()
    except ConfigError:  # coordinates as numbers
        return dict(bins=None, bin_values=None)
    return dict(bins=len(values), bin_values=values)


def _preprocessing(preprocessor: Any, pipeline: Sequence[dict]) -> dict[str, Any]:
    """How an image file becomes the network's input."""
    normalised = getattr(preprocessor, '_enable_normalize', False)
    flipped = getattr(preprocessor, '_channel_conversion', False)
    return dict(
        layout='NCHW',
        dtype='float32',
        # mmcv loads BGR; mean and std are in the order of the input.
        channel_order='RGB' if flipped else 'BGR',
        mean=preprocessor.mean.flatten().tolist() if normalised else [0.0] * 3,
        std=preprocessor.std.flatten().tolist() if normalised else [1.0] * 3,
        pad='right and bottom, after normalising',
        pad_value=_plain(getattr(preprocessor, 'pad_value', 0)),
        pad_size_divisor=_plain(getattr(preprocessor, 'pad_size_divisor', 1)),
        pipeline=_plain([dict(step) for step in pipeline]),
    )


def _priors(head: Any, levels: int) -> list[dict[str, Any]]:
    """Stride and base anchors of each level."""
    generator = getattr(head, 'prior_generator', None)
    strides = getattr(generator, 'strides', [None] * levels)
    anchors = getattr(generator, 'base_anchors', None)
    priors: list[dict[str, Any]] = []
    for level, stride in enumerate(strides):
        prior: dict[str, Any] = dict(generator=type(generator).__name__)
        prior['stride_xy'] = _plain(stride)
        if anchors is not None:
            prior['base_anchors'] = anchors[level].tolist()
        else:
            prior['offset'] = _plain(getattr(generator, 'offset', None))
        priors.append(prior)
    return priors


def _described(component: Any) -> dict[str, Any] | None:
    """Class and settings of a component that is not a module."""
    if component is None:
        return None
    return dict(type=type(component).__name__, **_plain(vars(component)))


def _plain(value: Any) -> Any:
    """What JSON can hold; anything else as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return type(value).__name__
