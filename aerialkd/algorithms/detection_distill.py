"""DetectionDistill: one frozen teacher and one student in a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmrazor.models.algorithms import BaseAlgorithm, SingleTeacherDistill
from mmrazor.models.utils import add_prefix
from torch import Tensor, nn

from aerialkd.algorithms.teacher import FrozenTeacher, raw_outputs
from aerialkd.distillers import DetectionDistiller
from aerialkd.engine import model_cfg
from aerialkd.engine.classes import class_outputs
from aerialkd.errors import ConfigError, TeacherError
from aerialkd.registry import MODELS
from aerialkd.structures import AssignedTargets, BatchContext

STUDENT = 'architecture.'


class View(NamedTuple):
    """A batch as one of the models is shown it.

    Attributes:
        inputs: normalised, padded images, (N, C, H, W).
        samples: their data samples, boxes in pixels of ``inputs``.
    """

    inputs: Tensor
    samples: Sequence[Any]


@MODELS.register_module()
class DetectionDistill(SingleTeacherDistill):
    """Distil one detector into another.

    A step runs the teacher's ``extract_feat`` (its dense head only when a record
    lies there, its loss never), the student's loss, and the distillation losses on
    what was recorded. The losses are logged as ``student.*`` and ``distill.*``.

    ``state_dict()`` is the student's, with the names of the plain detector, plus the
    trainable connectors under ``distiller.``; checkpoints of the plain student and of
    mmrazor's layout load. After ``StopDistillHook`` no teacher forward runs.

    Args:
        architecture: the student: config, path to a config file, or built detector.
        teacher: the teacher, alike. The student's own config makes self-distillation.
        distiller: config of a :class:`aerialkd.distillers.DetectionDistiller`.
        teacher_ckpt: file of the teacher's weights, loaded strictly.
        teacher_may_differ: shell patterns of checkpoint keys that may differ.
        teacher_options: options of :class:`FrozenTeacher` for a faster teacher:
            ``fuse_conv_bn``, ``channels_last``, ``autocast_dtype``.
        check_classes: compare the class names of teacher and student before the first
            step. Switch it off when only features are distilled from a teacher that
            knows other classes.
        teacher_check: before the first step, let the teacher detect the objects of a
            few training images; one that finds none is an error. It is the business of
            :class:`aerialkd.engine.TeacherCheckHook`, so of a runner: the algorithm
            alone runs with any teacher.
        data_preprocessor: overrides the student's own.
        init_cfg: initialisation of the student.

    Raises:
        ConfigError: if the student or teacher cannot be distilled.
        TeacherError: if the checkpoint or the classes do not fit.
    """

    # Size of the teacher's images over that of the student's.
    teacher_scale = 1.0

    def __init__(
        self,
        architecture: str | Path | dict | nn.Module,
        teacher: str | Path | dict | nn.Module,
        distiller: dict,
        teacher_ckpt: str | None = None,
        teacher_may_differ: Sequence[str] = (),
        teacher_options: dict | None = None,
        check_classes: bool = True,
        teacher_check: bool = True,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if not isinstance(architecture, nn.Module):
            architecture = model_cfg(architecture)
        # mmrazor's SingleTeacherDistill would register the teacher as a submodule and
        # load it loosely; only its contract (type, attributes) is kept.
        BaseAlgorithm.__init__(
            self, architecture, data_preprocessor, init_cfg, module_inplace=True
        )  # mmrazor's way of switching in-place off does nothing; see below
        frozen = FrozenTeacher(
            teacher,
            teacher_ckpt,
            teacher_may_differ,
            student_preprocessor=self.data_preprocessor,
            **(teacher_options or {}),
        )
        object.__setattr__(self, 'frozen_teacher', frozen)  # no submodule on purpose
        self.check_classes = check_classes
        self.teacher_check = teacher_check
        self.distillation_stopped = False
        self._compare_outputs()
        for model in (self.student, self.teacher):
            _without_inplace(model)

        self.distiller: DetectionDistiller = MODELS.build(distiller)
        if not isinstance(self.distiller, DetectionDistiller):
            raise ConfigError(
                f'distiller: got {type(self.distiller).__name__}, expected '
                "type='aerialkd.DetectionDistiller'."
            )
        self.distiller.prepare_from_student(self.student)
        self.distiller.prepare_from_teacher(self.teacher)
        self._check_heads()
        self._register_state_dict_hook(_drop_student_prefix)
        self.register_load_state_dict_pre_hook(_add_student_prefix)

    @property
    def teacher(self) -> nn.Module:
        """The teacher detector. Not a submodule."""
        return self.frozen_teacher.model

    def train(self, mode: bool = True) -> DetectionDistill:
        """Switch the student's mode; the teacher stays in evaluation mode."""
        nn.Module.train(self, mode)
        self.frozen_teacher.eval()
        return self

    def _apply(self, *args: Any, **kwargs: Any) -> DetectionDistill:
        """Move the teacher along to devices and types."""
        super()._apply(*args, **kwargs)
        self.frozen_teacher._apply(*args, **kwargs)
        return self

    def loss(
        self, batch_inputs: Tensor, data_samples: Sequence[Any] | None = None
    ) -> dict[str, Any]:
        """Compute the losses of one step.

        Args:
            batch_inputs: normalised, padded images, (N, C, H, W).
            data_samples: their annotations.

        Returns:
            The student's losses as ``student.*``, the distillation's as ``distill.*``.
        """
        teachers, students = self.views(batch_inputs, list(data_samples or []))
        if self.distillation_stopped:
            losses = self.student(*students, mode='loss')
            return {**add_prefix(losses, 'student'), **self._idle_connectors()}
        try:
            self.run_teacher(*teachers)
            losses = self.run_student(*students)
            batch = self.context(*students)
            distill = self.distiller.compute_distill_losses(batch)
        finally:
            self.distiller.clear_records()
        return {**add_prefix(losses, 'student'), **add_prefix(distill, 'distill')}

    def views(self, inputs: Tensor, data_samples: Sequence[Any]) -> tuple[View, View]:
        """What the teacher and what the student is shown of a batch."""
        view = View(inputs, data_samples)
        return view, view

    def run_teacher(self, batch_inputs: Tensor, data_samples: Sequence[Any]) -> None:
        """Record the teacher's forward pass on its view."""
        self.distiller.set_deliveries_override(False)
        with self.distiller.teacher_recorders, self.distiller.deliveries:
            self.frozen_teacher(
                batch_inputs, data_samples, self.distiller.needs_teacher_head
            )

    def run_student(
        self, batch_inputs: Tensor, data_samples: Sequence[Any]
    ) -> dict[str, Any]:
        """Record the student's step on its view and return its task losses."""
        with self._recording_student():
            return self.student(batch_inputs, data_samples, mode='loss')

    @torch.no_grad()
    def observe(
        self, batch_inputs: Tensor, data_samples: Sequence[Any], annotated: bool
    ) -> BatchContext | None:
        """Record a forward pass of both in evaluation mode, to look at.

        Without ground truth, that is the student's ``extract_feat`` and dense head. The
        records are there until ``distiller.clear_records()``.

        Args:
            batch_inputs: normalised, padded images, (N, C, H, W).
            data_samples: as for :meth:`loss`; without ground truth where there is none.
            annotated: whether there is ground truth; targets are then assigned.

        Returns:
            What the losses may know about the batch; None without ground truth.
        """
        self.eval()
        teachers, students = self.views(batch_inputs, data_samples)
        self.run_teacher(*teachers)
        with raw_outputs(self.student), self._recording_student():
            if annotated:
                self.student(*students, mode='loss')
                return self.context(*students)
            feats = self.student.extract_feat(students.inputs)
            if hasattr(self.student, 'bbox_head'):
                self.student.bbox_head(feats)  # forward() itself would call no hooks
            return None

    @contextmanager
    def _recording_student(self) -> Iterator[None]:
        self.distiller.set_deliveries_override(True)
        with self.distiller.student_recorders, self.distiller.deliveries:
            yield

    def context(
        self,
        batch_inputs: Tensor,
        data_samples: Sequence[Any],
        assigned: Callable[[], AssignedTargets | None] | None = None,
    ) -> BatchContext:
        """What the losses may know about the batch.

        Args:
            batch_inputs: the student's view.
            data_samples: likewise.
            assigned: gives the student's assigned targets; by default those that were
                recorded when it ran.
        """
        height, width = batch_inputs.shape[-2:]
        return BatchContext(
            data_samples,
            (height, width),
            assigned or (lambda: self.distiller.assigned),
            self._heads,
            self.teacher_scale,
        )

    @property
    def _heads(self) -> tuple[Any, Any] | None:
        """Dense heads of student and teacher; None where one has none."""
        models: tuple[Any, Any] = (self.student, self.teacher)
        heads = [model.bbox_head for model in models if hasattr(model, 'bbox_head')]
        return (heads[0], heads[1]) if len(heads) == 2 else None

    def _check_heads(self) -> None:
        """Refuse other priors where a loss that cannot see it compares two heads."""
        context = BatchContext([], (0, 0), None, self._heads, self.teacher_scale)
        for name in self.distiller.blind_to_heads:
            context.require_same_priors(name, coder=False)
            context.require_same_classes(name)

    def _idle_connectors(self) -> dict[str, Tensor]:
        """A zero that touches the connectors: DDP waits for every parameter."""
        touched = [p.sum() * 0 for p in self.distiller.parameters()]
        return {'distill.loss_stopped': sum(touched[1:], touched[0])} if touched else {}

    def _compare_outputs(self) -> None:
        """Refuse a teacher for another number of classes before anything runs."""
        teacher, student = (
            {number for _, number in class_outputs(model)}
            for model in (self.teacher, self.student)
        )
        if self.check_classes and teacher and student and teacher != student:
            raise TeacherError(
                f'The teacher predicts {_either(teacher)} classes, the student '
                f'{_either(student)}. '
                'Use a teacher of the same data set; if only features are distilled '
                'and the classes do not matter, set check_classes=False.'
            )


def _either(numbers: set[int]) -> str:
    return ' or '.join(map(str, sorted(numbers)))


def _without_inplace(model: nn.Module) -> None:
    """Switch in-place activations off: they would overwrite recorded outputs."""
    for module in model.modules():
        if getattr(module, 'inplace', False) is True:
            module.inplace = False  # type: ignore[assignment]


def _drop_student_prefix(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict
) -> None:
    """State-dict hook: name the student's entries as in the plain detector."""
    full = prefix + STUDENT
    for key in [key for key in state if key.startswith(full)]:
        state[prefix + key.removeprefix(full)] = state.pop(key)


def _add_student_prefix(
    module: nn.Module, state: dict[str, Any], prefix: str, *args: Any
) -> None:
    """Load hook: the reverse, for our checkpoints and those of the plain student."""
    own = tuple(prefix + name for name in (STUDENT, 'distiller.'))
    for key in [k for k in state if k.startswith(prefix) and not k.startswith(own)]:
        state[prefix + STUDENT + key.removeprefix(prefix)] = state.pop(key)
