"""Whether an ONNX graph is portable and computes what torch computes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aerialkd.errors import CheckpointError, ConfigError, EnvironmentProblem

TOLERANCE = 1e-4
RELATIVE_TOLERANCE = 1e-5
PACKAGES = ('onnx', 'onnxruntime')


def need_packages() -> None:
    """Stop early where ONNX is not installed.

    Raises:
        EnvironmentProblem: with the command that installs it.
    """
    missing = [name for name in PACKAGES if not importlib.util.find_spec(name)]
    if missing:
        raise EnvironmentProblem(
            f'ONNX needs {" and ".join(missing)}, not installed here. '
            'Fix: pip install -e .[onnx]'
        )


def check_operators(file: Path) -> None:
    """Refuse operators that only some runtimes have.

    Raises:
        ConfigError: if there are any.
    """
    import onnx  # optional

    model = onnx.load(file)
    nodes = list(_nodes(model.graph))
    for function in model.functions:
        nodes += function.node
    custom = {
        f'{n.domain}.{n.op_type}' for n in nodes if n.domain not in ('', 'ai.onnx')
    }
    if custom:
        raise ConfigError(
            f'The student needs operators that ONNX does not have: {sorted(custom)}.'
        )
    onnx.checker.check_model(model, full_check=True)


@torch.no_grad()
def compare(
    model: nn.Module, file: Path, sizes: Sequence[tuple[int, int, int]]
) -> float:
    """Largest absolute difference between torch and onnxruntime.

    Args:
        model: from (N, 3, H, W) to a tuple of tensors.
        file: its graph, with the input ``images``.
        sizes: batch, height and width of each comparison.

    Raises:
        CheckpointError: if a value differs by more than 1e-4, or, in maps with values
            above 10 (boxes in pixels), by more than 1e-5 of the largest.
    """
    import onnxruntime  # optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(
        str(file), options, providers=['CPUExecutionProvider']
    )
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch, height, width in sizes:
        images = torch.randn(batch, 3, height, width, generator=generator)
        results = _run(session, images, f'{batch}x3x{height}x{width}')
        for expected, got in zip(model(images), results, strict=True):
            difference = _difference(expected, got)
            if difference is None:
                raise CheckpointError(
                    f'onnxruntime computes something else than torch for '
                    f'{batch}x3x{height}x{width}: values differ by more than '
                    f'{TOLERANCE:g}, or shapes ({tuple(got.shape)} against '
                    f'{tuple(expected.shape)}). Nothing was written.'
                )
            largest = max(largest, difference)
    return largest


def _run(session: Any, images: Tensor, shape: str) -> list[Tensor]:
    try:
        results = session.run(None, {'images': images.numpy()})
    except Exception as error:  # onnxruntime's exceptions have no public base
        raise CheckpointError(
            f'onnxruntime cannot run the graph for {shape}: {error}'
        ) from error
    return [torch.from_numpy(result) for result in results]


def _difference(expected: Tensor, got: Tensor) -> float | None:
    """Largest absolute difference; None if it is too large or undefined."""
    if expected.shape != got.shape:
        return None
    allowed = max(TOLERANCE, RELATIVE_TOLERANCE * float(expected.abs().max()))
    difference = float((got - expected).abs().max())
    return difference if difference <= allowed else None


def _nodes(graph: Any) -> Any:
    """A graph's nodes with those in the branches of conditions and loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField('g'):
                yield from _nodes(attribute.g)
