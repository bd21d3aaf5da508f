"""The frozen teacher: built, loaded strictly, fed with its own normalisation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from mmcv.cnn.utils import fuse_conv_bn as fold_batch_norms
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn

from aerialkd.algorithms.renormalise import Renormalise
from aerialkd.arguments import check_when_built
from aerialkd.engine import load_strictly, load_weights, model_cfg
from aerialkd.errors import CheckpointError, ConfigError, TeacherError


@check_when_built
class FrozenTeacher(nn.Module):
    """A detector that only looks: in evaluation mode, without gradients or loss.

    It stays out of the algorithm's modules, so that no optimizer, checkpoint or
    gradient bucket sees it; copies of the algorithm (EMA) share it.

    Args:
        cfg: config of the detector, or a path to a config file whose ``model`` it is
            (relative to the working directory or to the repository), or a module.
        checkpoint: file of its weights; see :func:`aerialkd.engine.load_weights`.
        may_differ: shell patterns of checkpoint keys that may differ.
        student_preprocessor: what normalised the inputs that the teacher is given.
        fuse_conv_bn: fold batch norms into the convolutions before them.
        channels_last: run in channels-last memory format.
        autocast_dtype: run under autocast with this type ('bfloat16', 'float16').

    Raises:
        ConfigError: if the config is no single-stage detector.
        TeacherError: if the checkpoint does not fit.
    """

    def __init__(
        self,
        cfg: str | Path | dict | nn.Module,
        checkpoint: str | None = None,
        may_differ: Iterable[str] = (),
        student_preprocessor: nn.Module | None = None,
        fuse_conv_bn: bool = False,
        channels_last: bool = False,
        autocast_dtype: Literal['bfloat16', 'float16'] | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = (
            cfg if isinstance(cfg, nn.Module) else MODELS.build(model_cfg(cfg))
        )
        if not hasattr(self.model, 'extract_feat'):
            raise ConfigError(
                f'teacher: {type(self.model).__name__} has no extract_feat; a detector '
                'of MMDetection or MMRotate is expected.'
            )
        self.checkpoint = checkpoint
        self.classes: tuple[str, ...] | None = None
        if checkpoint is not None:
            self.classes = self._load(
                checkpoint, tuple(may_differ), student_preprocessor
            )
        elif not isinstance(cfg, nn.Module):
            self._initialise()
        if fuse_conv_bn:
            self.model = fold_batch_norms(self.model.eval())
        self.channels_last = channels_last
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.autocast_dtype = getattr(torch, autocast_dtype) if autocast_dtype else None
        self.renormalise = Renormalise.between(
            student_preprocessor, getattr(self.model, 'data_preprocessor', None)
        )
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stay in evaluation mode, whatever ``mode`` is."""
        return super().train(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        """Share the teacher between copies of an algorithm."""
        return self

    @torch.no_grad()
    def forward(
        self, inputs: Tensor, data_samples: Sequence[Any], with_head: bool
    ) -> None:
        """Run what the recorders listen to; results are theirs alone.

        Args:
            inputs: the student's inputs, (N, C, H, W).
            data_samples: the batch's samples, for the sizes without padding.
            with_head: run the dense head too.
        """
        inputs = self._prepared(inputs, data_samples)
        with self._autocast(inputs.device.type):
            feats = self.model.extract_feat(inputs)
            if with_head:
                with raw_outputs(self.model):
                    self.model.bbox_head(feats)

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: Sequence[Any]) -> list[Any]:
        """Detect objects with the teacher's own ``test_cfg``.

        In single precision whatever ``autocast_dtype`` is: not every head decodes half
        precision, and suppression of rotated boxes does not take it.

        Args:
            inputs: the student's inputs, (N, C, H, W).
            data_samples: the batch's samples; they stay as they are.

        Returns:
            Detections of each image, boxes in pixels of ``inputs``.
        """
        bare = [type(sample)(metainfo=sample.metainfo) for sample in data_samples]
        inputs = self._prepared(inputs, data_samples)
        found = self.model.predict(inputs, bare, rescale=False)
        return [sample.pred_instances for sample in found]

    @contextmanager
    def normalised_as(self, source: Any, target: Any) -> Iterator[None]:
        """Feed the teacher as if it had another data preprocessor.

        Args:
            source: the student's data preprocessor.
            target: what stands in for the teacher's.
        """
        before = self.renormalise
        self.renormalise = Renormalise.between(source, target).to(before.scale.device)
        try:
            yield
        finally:
            self.renormalise = before

    def check_classes(self, classes: Sequence[str]) -> None:
        """Compare the teacher's class names with the student's.

        Raises:
            TeacherError: if the names or their order differ.
        """
        if self.classes is None:
            print_log(
                'The teacher checkpoint does not state its classes: they are not '
                "compared with the student's.",
                logger='current',
                level=logging.WARNING,
            )
            return
        if tuple(classes) == self.classes:
            return
        both = list(zip(self.classes, classes, strict=False))
        at = next((i for i, (t, s) in enumerate(both) if t != s), len(both))
        raise TeacherError(
            f'The teacher was trained for other classes: it has {len(self.classes)} '
            f'({", ".join(self.classes)}), the student {len(classes)} '
            f'({", ".join(classes)}); they differ from position {at} on. Train the '
            'student with the same metainfo.classes, or, if only features are '
            'distilled and the classes do not matter, set check_classes=False.'
        )

    def _prepared(self, inputs: Tensor, data_samples: Sequence[Any]) -> Tensor:
        """The student's inputs as the teacher takes them."""
        inputs = self.renormalise(inputs, data_samples)
        if self.channels_last:
            inputs = inputs.to(memory_format=torch.channels_last)
        return inputs

    def _autocast(self, device: str) -> AbstractContextManager:
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(device, dtype=self.autocast_dtype)

    def _initialise(self) -> None:
        """Fall back on the config's own initialisation, and say so."""
        print_log(
            'teacher_ckpt is None: the teacher has the weights of its init_cfg or '
            'random ones, and a student learns nothing from random ones.',
            logger='current',
            level=logging.WARNING,
        )
        self.model.init_weights()

    def _load(
        self, checkpoint: str, may_differ: tuple[str, ...], student: nn.Module | None
    ) -> tuple[str, ...] | None:
        """Load the checkpoint strictly and return the class names it states."""
        weights = load_weights(checkpoint)
        own = getattr(self.model, 'data_preprocessor', None)
        # Without settings of its own it is fed as the student is.
        seen = own if hasattr(own, 'pad_value') else student
        try:
            load_strictly(self.model, weights, may_differ, seen)
        except CheckpointError as error:
            raise TeacherError(
                f'teacher_ckpt: {error}. Point teacher_ckpt at a checkpoint of the '
                "config named by 'teacher', or list the keys that may differ in "
                'teacher_may_differ (shell patterns).'
            ) from error
        return weights.classes


@contextmanager
def raw_outputs(detector: nn.Module) -> Iterator[None]:
    """Let the dense head of a detector in evaluation mode speak as in training.

    Some heads (FCOS) decode in evaluation. Only the head's own flag is switched; its
    layers stay in evaluation mode. A detector without ``bbox_head`` is left alone.
    """
    head = getattr(detector, 'bbox_head', nn.Identity())
    before, head.training = head.training, True
    try:
        yield
    finally:
        head.training = before
