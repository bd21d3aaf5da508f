"""Weights trained with Ultralytics' YOLOv8 under the names of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from aerialkd.detectors.yolov8.backbone import YOLOv8Backbone
from aerialkd.detectors.yolov8.head import YOLOv8Head
from aerialkd.detectors.yolov8.neck import YOLOv8PAFPN
from aerialkd.detectors.yolov8.sizes import CHANNELS, SIZES
from aerialkd.errors import CheckpointError

# Layers of the flat list "model"; those missing hold no weights (upsample, concat).
LAYERS = {
    'backbone.stem': 0,
    'backbone.stages.0.0': 1,
    'backbone.stages.0.1': 2,
    'backbone.stages.1.0': 3,
    'backbone.stages.1.1': 4,
    'backbone.stages.2.0': 5,
    'backbone.stages.2.1': 6,
    'backbone.stages.3.0': 7,
    'backbone.stages.3.1': 8,
    'backbone.stages.3.2': 9,
    'neck.top_down.0': 12,
    'neck.top_down.1': 15,
    'neck.downsample.0': 16,
    'neck.bottom_up.0': 18,
    'neck.downsample.1': 19,
    'neck.bottom_up.1': 21,
}
PARTS = {
    'main_conv': 'cv1',
    'final_conv': 'cv2',
    'blocks': 'm',
    'conv1': 'cv1',
    'conv2': 'cv2',
}
HEAD = {
    'bbox_head.reg_branches': 'model.22.cv2',
    'bbox_head.cls_branches': 'model.22.cv3',
    'bbox_head.projection': 'model.22.dfl.conv.weight',
}
STEM, CLASSES = 'model.0.conv.weight', 'model.22.cv3.0.2.bias'


def convert_ultralytics_state_dict(state_dict: Mapping[str, Tensor]) -> dict:
    """Rename the weights of an Ultralytics YOLOv8 detector; no value changes.

    Sizes n, s, m, l and x with any number of classes; both are read off the shapes.
    Half precision becomes single precision, as the detector has it.

    Args:
        state_dict: ``YOLO('best.pt').model.state_dict()``: ``model.0.conv.weight`` to
            ``model.22.dfl.conv.weight``, with BatchNorm not fused.

    Returns:
        State dict of the detector of ``configs/detectors/yolov8``.

    Raises:
        CheckpointError: if a key is unknown or missing, or a shape differs.
    """
    shapes = _expected_shapes(state_dict)
    expected = {their_name(name): name for name in shapes}
    problems = {
        'missing': [
            key
            for key in expected
            if key not in state_dict and not key.endswith('.num_batches_tracked')
        ],
        'unknown': [key for key in state_dict if key not in expected],
        'of another shape': [
            f'{key} (got {tuple(state_dict[key].shape)}, expected {shapes[name]})'
            for key, name in expected.items()
            if key in state_dict and tuple(state_dict[key].shape) != shapes[name]
        ],
    }
    if any(problems.values()):
        raise _refusal(problems, state_dict)
    converted = {}
    for key, name in expected.items():
        if key not in state_dict:  # a counter, which nothing reads
            continue
        value = state_dict[key]
        converted[name] = value.float() if value.is_floating_point() else value
    converted['bbox_head.projection'] = converted['bbox_head.projection'].flatten()
    return converted


def their_name(name: str) -> str:
    """Ultralytics' name of one of our weights.

    Example:
        >>> their_name('neck.top_down.0.blocks.1.conv2.bn.weight')
        'model.12.m.1.cv2.bn.weight'
    """
    for ours, theirs in HEAD.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    layer = next(layer for layer in LAYERS if name.startswith(layer + '.'))
    rest = name.removeprefix(layer + '.').split('.')
    return '.'.join(['model', str(LAYERS[layer]), *(PARTS.get(w, w) for w in rest)])


def _expected_shapes(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Our names and their shapes at the size and number of classes found."""
    missing = [key for key in (STEM, CLASSES) if key not in state_dict]
    if missing:
        raise _refusal({'missing': missing}, state_dict)
    stem, num_classes = len(state_dict[STEM]), len(state_dict[CLASSES])
    sizes = {size.channels(CHANNELS[0]): name for name, size in SIZES.items()}
    if stem not in sizes:
        known = ', '.join(map(str, sizes))
        problem = f'{STEM} (got {stem} channels, expected one of {known})'
        raise _refusal({'of another shape': [problem]}, state_dict)
    with torch.device('meta'):
        model = nn.ModuleDict(
            dict(
                backbone=YOLOv8Backbone(sizes[stem]),
                neck=YOLOv8PAFPN(sizes[stem]),
                bbox_head=YOLOv8Head(num_classes, sizes[stem]),
            )
        )
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    shapes['bbox_head.projection'] = (1, *shapes['bbox_head.projection'], 1, 1)
    return shapes


def _refusal(problems: Mapping[str, list[str]], keys: Iterable[str]) -> CheckpointError:
    listed = '; '.join(
        f'{len(found)} {what}: {", ".join(found[:6])}' + (', ...' if found[6:] else '')
        for what, found in problems.items()
        if found
    )
    return CheckpointError(
        'These are not the weights of an Ultralytics YOLOv8 detector (n, s, m, l, x): '
        f'{listed}. {_likely_cause(list(keys))}'
    )


def _likely_cause(keys: list[str]) -> str:
    """What the names say about where the weights come from, and what to do."""

    def some(pattern: str) -> bool:
        return any(re.match(pattern, key) for key in keys)

    causes = {
        r'(module|_orig_mod|model\.model|ema|student)\.': 'The names have a prefix of '
        "a wrapper: take it off, or save YOLO('best.pt').model.state_dict().",
        r'(backbone|neck|bbox_head)\.': 'They have the names of this package (or of '
        'MMDetection) already: load them without conversion.',
        r'model\.\d+\.(proto|cv4.*proto)': 'This is a segmentation model; only '
        'detection models are converted.',
        r'model\.22\.cv4': 'This is a pose, segmentation or oriented-box model; only '
        'detection models are converted.',
        r'model\.\d+\.linear': 'This is a classification model; only detection models '
        'are converted.',
        r'model\.(24|33)\.': 'This looks like YOLOv5; only YOLOv8 is converted.',
        r'model\.23\.': 'This looks like YOLO11 or a later version; only YOLOv8 is '
        'converted.',
        r'model\.(28|29)\.cv2': 'This is a variant with other levels (p2 or p6); only '
        'strides 8, 16 and 32 are converted.',
    }
    for pattern, cause in causes.items():
        if some(pattern):
            return cause
    if keys and not any('.bn.' in key for key in keys):
        return (
            'Its BatchNorm was fused into the convolutions: save the weights before '
            'fuse(), export or prediction.'
        )
    return (
        'Likely another version or task, or an incomplete file; save '
        "YOLO('best.pt').model.float().state_dict() of a YOLOv8 detection model."
    )
