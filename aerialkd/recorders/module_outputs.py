"""Recorders of module outputs that notice when a record is changed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmrazor.models.task_modules import ModuleOutputsRecorder as _MMRazorRecorder
from torch import Tensor, nn

from aerialkd.errors import ConfigError, RecordError
from aerialkd.registry import TASK_UTILS


@TASK_UTILS.register_module()
class ModuleOutputsRecorder(_MMRazorRecorder):
    """Record what a module returns, and refuse records that were altered in place.

    An in-place operation behind the recorded module (``nn.ReLU(inplace=True)``,
    ``out += identity``) overwrites the record. ``DetectionDistill`` switches
    in-place activations off; what remains is noticed here.

    Args:
        source: name of the module in the model, as in ``named_modules()``.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._versions: list[list[int]] = []

    def prepare_from_model(self, model: nn.Module | None = None) -> None:
        """Attach the recorder.

        Raises:
            ConfigError: if the model has no module of that name.
        """
        modules = dict(model.named_modules()) if model is not None else {}
        if self.source not in modules:
            children = sorted(name for name in modules if name and '.' not in name)
            raise ConfigError(
                f'Recorder source {self.source!r} is not a module of '
                f'{type(model).__name__}; its parts are: {", ".join(children)}. '
                'Names are those of model.named_modules().'
            )
        super().prepare_from_model(model)

    def forward_hook(
        self, module: nn.Module, inputs: tuple[Any, ...], outputs: Any
    ) -> None:
        """Keep the output and the version of each tensor in it."""
        if self.recording:
            self.data_buffer.append(outputs)
            self._versions.append([t._version for t in tensors_of(outputs)])

    def get_record_data(self, record_idx: int = 0, data_idx: int | None = None) -> Any:
        """Return a record, or an item of it.

        Raises:
            RecordError: if the module did not run, or its output was overwritten.
        """
        if record_idx >= len(self.data_buffer):
            raise RecordError(
                f'Recorder of {self.source!r} holds {len(self.data_buffer)} records, '
                f'record_idx={record_idx} was asked for: the module ran less often '
                'than that in this step.'
            )
        record = self.data_buffer[record_idx]
        versions = [t._version for t in tensors_of(record)]
        if versions != self._versions[record_idx]:
            raise RecordError(
                f'The output of {self.source!r} was changed in place after it was '
                'recorded. Record the module behind it (the norm or activation), or '
                'replace the in-place operation in the model.'
            )
        return record if data_idx is None else record[data_idx]

    def reset_data_buffer(self) -> None:
        """Drop all records."""
        super().reset_data_buffer()
        self._versions = []


@TASK_UTILS.register_module()
class HeadOutputsRecorder(ModuleOutputsRecorder):
    """Record the per-level outputs of a dense head.

    The record is what the head's ``forward`` returns in training mode, for the
    teacher too (some heads decode in evaluation mode): a tuple such as
    ``(cls_scores, bbox_preds)`` of tuples of levels (N, A * D, H_l, W_l).

    Args:
        source: name of the dense head in the detector.
    """

    def __init__(self, source: str = 'bbox_head') -> None:
        super().__init__(source)


def tensors_of(record: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(record, Tensor):
        yield record
    elif isinstance(record, dict):
        for item in record.values():
            yield from tensors_of(item)
    elif isinstance(record, (list, tuple)):
        for item in record:
            yield from tensors_of(item)
