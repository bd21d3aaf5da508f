"""ONNX export of dense detectors, up to the raw outputs of the head."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn

from aerialkd.engine.staging import staging
from aerialkd.errors import ConfigError
from aerialkd.export.onnx_card import model_card, output_names
from aerialkd.export.onnx_check import check_operators, compare, need_packages


@dataclass(frozen=True)
class OnnxOptions:
    """Settings of an export to ONNX.

    Attributes:
        size: height and width of the image that the graph is traced with; it runs at
            every size that the detector takes.
        opset: version of ONNX's default operator set. 17 is what runtimes for small
            devices commonly have.
    """

    size: tuple[int, int] = (256, 320)
    opset: int = 17


class RawHead(nn.Module):
    """Backbone, neck and head: from a normalised, padded batch to the head's outputs.

    The outputs are those that mmdet's ``predict_by_feat`` takes, first all levels of
    the classification, then all levels of the boxes, and so on.
    """

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """From (N, C, H, W) to the maps (N, ..., H_l, W_l)."""
        groups = self.groups(images)
        return tuple(level for group in groups for level in group)

    def groups(self, images: Tensor) -> tuple[Sequence[Tensor], ...]:
        """The same, one sequence of levels for each kind of output."""
        return self.detector.bbox_head(self.detector.extract_feat(images))


def export_onnx(
    detector: Any,
    out: str | Path,
    options: OnnxOptions | None = None,
    classes: Sequence[str] = (),
    pipeline: Sequence[dict] = (),
    force: bool = False,
) -> float:
    """Write ``out`` and ``out.json``, which says what comes before and after the graph.

    Batch, height and width are dynamic; only operators of ONNX's own domain are used.
    The graph is compared with the detector in onnxruntime before the files appear.

    Args:
        detector: a single-stage detector with trained weights.
        out: file to write, ending in ``.onnx``.
        options: size of the trace and operator set.
        classes: class names, for the description.
        pipeline: the test pipeline, for the description.
        force: replace existing files.

    Returns:
        The largest absolute difference to onnxruntime over several sizes.

    Raises:
        EnvironmentProblem: if ``onnx`` or ``onnxruntime`` is not installed.
        ConfigError: if the detector is no dense one or has operators ONNX lacks.
        CheckpointError: if onnxruntime computes something else.
    """
    need_packages()
    options, out = options or OnnxOptions(), Path(out)
    if not isinstance(detector, SingleStageDetector):
        raise ConfigError(
            f'{type(detector).__name__} cannot be exported to ONNX: only single-stage '
            'detectors with a dense head (RetinaNet, GFL, FCOS, ...) can.'
        )
    model = RawHead(copy.deepcopy(detector).cpu())  # tracing switches modes
    sizes = _sizes(detector, options.size)
    with staging([out, out.with_name(out.name + '.json')], force) as folder:
        groups = _example(model, options.size)
        names = output_names(detector.bbox_head, groups)
        _trace(model, folder / out.name, names, options)
        check_operators(folder / out.name)
        difference = compare(model, folder / out.name, sizes)
        card = model_card(detector, groups, options, classes, pipeline)
        card['verified'] = dict(sizes=sizes, largest_difference=difference)
        text = json.dumps(card, indent=2)
        (folder / f'{out.name}.json').write_text(text + '\n', encoding='utf-8')
    return difference


@torch.no_grad()
def _example(model: RawHead, size: tuple[int, int]) -> tuple[Sequence[Tensor], ...]:
    """The head's outputs for one image."""
    try:
        return model.groups(torch.zeros(1, 3, *size))
    except RuntimeError as error:
        raise ConfigError(
            f'The student cannot take images of {size[0]}x{size[1]}: {_line(error)}. '
            'Choose a multiple of its strides: --onnx-size H W.'
        ) from error


def _trace(model: RawHead, file: Path, names: list[str], options: OnnxOptions) -> None:
    """Write the graph.

    The TorchScript exporter rather than the one based on torch.export: every torch from
    2.6 on has it, it needs no further packages, takes a tenth of the time, and gives
    the same numbers. What it could get wrong, shapes frozen at the traced size,
    the comparison finds.
    """
    axes = {'images': {0: 'batch', 2: 'height', 3: 'width'}}
    axes |= {name: {0: 'batch', 2: f'{name}_h', 3: f'{name}_w'} for name in names}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # deprecation, tracing of Python numbers
            torch.onnx.export(
                model,
                (torch.zeros(1, 3, *options.size),),
                str(file),
                input_names=['images'],
                output_names=names,
                dynamic_axes=axes,
                opset_version=options.opset,
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(
            f'The student cannot be written with ONNX opset {options.opset}: '
            f'{_line(error)}'
        ) from error


def _sizes(detector: Any, traced: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Batch, height and width of the comparisons: odd multiples of the padding."""
    unit = max(getattr(detector.data_preprocessor, 'pad_size_divisor', 1), 32)
    return [(1, *traced), (1, 3 * unit, 5 * unit), (2, 7 * unit, 3 * unit)]


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
