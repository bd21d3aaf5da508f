"""Recorder of what lies within the towers of a dense head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from aerialkd.errors import ConfigError
from aerialkd.recorders.module_outputs import HeadOutputsRecorder
from aerialkd.registry import TASK_UTILS
from aerialkd.structures import TowerRecord, head_towers


@TASK_UTILS.register_module()
class HeadTowersRecorder(HeadOutputsRecorder):
    """Record a dense head's outputs and, of both towers, a map before an activation.

    The record is a :class:`aerialkd.structures.TowerRecord`. Where the towers of
    student and teacher differ in length, name a recorder of each with an ``idx`` of its
    own under ``student_recorders`` and ``teacher_recorders``.

    Args:
        source: name of the dense head in the detector.
        idx: which of the stacked convolutions, from 1 to their number; its output is
            taken behind the norm. CrossKD has 3 of 4, for FCOS 2.
    """

    def __init__(self, source: str = 'bbox_head', idx: int = 3) -> None:
        super().__init__(source)
        self.idx = idx
        # Maps of the pass that is running, with their versions at that moment.
        self._maps: dict[str, list[tuple[Tensor, int]]] = {}

    def prepare_from_model(self, model: nn.Module | None = None) -> None:
        """Attach the recorder.

        Raises:
            ConfigError: if there is no such head, its towers are not known, or have no
                convolution of that number.
        """
        super().prepare_from_model(model)
        head: Any = dict(model.named_modules())[self.source]  # type: ignore[union-attr]
        levels = head_towers(head)
        fewest = min(len(tower.convs) for both in levels for tower in both)
        if not 1 <= self.idx <= fewest:
            raise ConfigError(
                f'HeadTowers: got idx={self.idx}, expected 1 to {fewest}, the number '
                f'of stacked convolutions of {type(head).__name__}. Set idx of the '
                'recorder; where student and teacher differ in depth, one recorder '
                'each in student_recorders and teacher_recorders.'
            )
        head.register_forward_pre_hook(self._begin)
        for name in ('cls', 'reg'):
            convs = [getattr(both, name).convs[self.idx - 1] for both in levels]
            for conv in dict.fromkeys(convs):  # once where levels share it
                _before_activation(conv, partial(self._keep, name))

    def forward_hook(
        self, module: nn.Module, inputs: tuple[Any, ...], outputs: Any
    ) -> None:
        """Join the outputs with the maps of this pass."""
        if not self.recording:
            return
        cls, reg = (tuple(m for m, _ in self._maps[k]) for k in ('cls', 'reg'))
        super().forward_hook(module, inputs, TowerRecord(outputs, cls, reg, self.idx))
        versions = [v for k in ('cls', 'reg') for _, v in self._maps[k]]
        # The activation behind a map has run by now.
        self._versions[-1][-len(versions) :] = versions
        self._maps = {}

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._maps = {'cls': [], 'reg': []}

    def _keep(self, name: str, feat: Tensor) -> None:
        if self.recording:
            self._maps[name].append((feat, feat._version))


def _before_activation(conv: ConvModule, keep: Callable[[Tensor], None]) -> None:
    """Hand over what a convolution gives before its activation, whenever it runs."""
    if conv.with_activation:
        conv.activate.register_forward_pre_hook(lambda _, inputs: keep(inputs[0]))
    else:
        conv.register_forward_hook(lambda _, inputs, output: keep(output))
