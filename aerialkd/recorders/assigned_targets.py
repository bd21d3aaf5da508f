"""Recorder of the student's own target assignment."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from mmrazor.models.task_modules.recorder.base_recorder import BaseRecorder
from torch import nn

from aerialkd.errors import ConfigError
from aerialkd.registry import TASK_UTILS
from aerialkd.structures import AssignedTargets


@TASK_UTILS.register_module()
class AssignedTargetsRecorder(BaseRecorder):
    """Keep what a dense head's ``get_targets`` decided, without a second assignment.

    While recording, ``get_targets`` of that one head instance is wrapped; other
    instances of the class (the teacher's head) are left alone, which mmrazor's
    ``MethodOutputs`` cannot do. The distiller adds this recorder to the student by
    itself whenever a loss declares ``batch``.

    Args:
        source: name of the dense head in the detector.
    """

    def __init__(self, source: str = 'bbox_head') -> None:
        super().__init__(source)
        self._head: nn.Module | None = None

    def prepare_from_model(self, model: nn.Module | None = None) -> None:
        """Find the head.

        Raises:
            ConfigError: if there is no such head, or it assigns no targets.
        """
        head = dict(model.named_modules()).get(self.source) if model else None
        if not hasattr(head, 'get_targets'):
            raise ConfigError(
                f'AssignedTargets: {type(model).__name__} has no module '
                f"{self.source!r} with a method 'get_targets'."
            )
        self._head = head

    def __enter__(self) -> None:
        super().__enter__()
        head: Any = self._head
        assign = head.get_targets

        def get_targets(anchors: Any, *args: Any, **kwargs: Any) -> Any:
            result = assign(anchors, *args, **kwargs)
            self.data_buffer.append((anchors, result))
            return result

        # An instance attribute shadows the method for this head alone.
        head.get_targets = get_targets

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        del self._head.get_targets  # type: ignore[union-attr]

    def get_record_data(self, record_idx: int = 0, data_idx: int | None = None) -> Any:
        """Return the assignment as :class:`AssignedTargets`; None if none was made."""
        if record_idx >= len(self.data_buffer):
            return None
        anchors, result = self.data_buffer[record_idx]
        return AssignedTargets.from_get_targets(self._head, anchors, result)
