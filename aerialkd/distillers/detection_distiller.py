"""DetectionDistiller: which records of teacher and student feed which loss."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Any

from mmrazor.models.distillers import ConfigurableDistiller
from torch import Tensor, nn

from aerialkd.errors import ConfigError
from aerialkd.losses import DistillLoss
from aerialkd.losses.base import Maps
from aerialkd.recorders import AssignedTargetsRecorder, HeadOutputsRecorder
from aerialkd.registry import MODELS, TASK_UTILS
from aerialkd.structures import AssignedTargets, BatchContext

RECORD_KEYS = {
    'recorder',
    'from_student',
    'record_idx',
    'data_idx',
    'levels',
    'connector',
}


@MODELS.register_module()
class DetectionDistiller(ConfigurableDistiller):
    """mmrazor's distiller for pyramids: one line a loss, whatever the number of levels.

    ``loss_forward_mappings`` takes three forms, for a loss named ``pkd``:

    - ``pkd='fpn'``: the record ``fpn`` of both models as ``preds_S`` and ``preds_T``;
    - ``pkd=dict(recorder='fpn', levels=(0, 1, 2, 3), connector='align')``: the same
      with a choice of levels, and a connector on the student's side
      (``connector_T`` names one for the teacher's);
    - mmrazor's own: ``pkd=dict(preds_S=dict(recorder='fpn', from_student=True), ...)``.

    A loss whose ``forward`` has an argument ``batch`` receives the BatchContext. A
    connector that several losses name for the same record runs once a step.

    Args:
        recorders: recorders to attach to both models, by name. Types are written
            without scope and suffix: ``dict(type='ModuleOutputs', source='neck')``;
            ours are looked up first, then mmrazor's.
        student_recorders: further recorders for the student alone.
        teacher_recorders: further recorders for the teacher alone.
        connectors: trainable pieces by name, or lists of them to be chained.
        distill_losses: losses by name; logged as ``distill.loss_<name>``.
        loss_forward_mappings: see above, for each loss.
        distill_deliveries: mmrazor's deliveries.
        only: names of the losses to keep; the others, and the recorders and connectors
            that only they use, are left out. For ablations.
        init_cfg: initialisation of the connectors.

    Raises:
        ConfigError: if a mapping names a loss, record, connector or argument that does
            not exist, or a loss has no mapping.
    """

    def __init__(
        self,
        recorders: dict[str, dict] | None = None,
        student_recorders: dict[str, dict] | None = None,
        teacher_recorders: dict[str, dict] | None = None,
        connectors: dict[str, Any] | None = None,
        distill_losses: dict[str, dict] | None = None,
        loss_forward_mappings: dict[str, str | dict] | None = None,
        distill_deliveries: dict[str, dict] | None = None,
        only: Sequence[str] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        of_student = {**(recorders or {}), **(student_recorders or {})}
        of_teacher = {**(recorders or {}), **(teacher_recorders or {})}
        if only is not None:
            distill_losses = _chosen(distill_losses or {}, only)
            loss_forward_mappings = _chosen(loss_forward_mappings or {}, only)
            named = set(_strings(loss_forward_mappings))
            of_student, of_teacher, connectors = (
                {name: cfg for name, cfg in (items or {}).items() if name in named}
                for items in (of_student, of_teacher, connectors)
            )
        super().__init__(
            student_recorders=_resolve(of_student),
            teacher_recorders=_resolve(of_teacher),
            distill_deliveries=distill_deliveries,
            connectors=connectors,
            distill_losses=_log_names(distill_losses or {}),
            init_cfg=init_cfg,
        )
        mappings = _log_names(loss_forward_mappings or {})
        self._check_names(mappings)
        self.loss_forward_mappings = {
            name: self._expand(name, mapping) for name, mapping in mappings.items()
        }
        self._takes_batch = {
            name
            for name, loss in self.distill_losses.items()
            if 'batch' in signature(loss.forward).parameters
        }
        self._assignment = AssignedTargetsRecorder() if self._takes_batch else None
        self._connected: dict[tuple, Any] = {}

    def prepare_from_student(self, model: nn.Module) -> None:
        """Attach the student's recorders."""
        super().prepare_from_student(model)
        head = getattr(model, 'bbox_head', None)
        if self._assignment is not None and hasattr(head, 'get_targets'):
            self._assignment.initialize(model)
            self.student_recorders.recorders['assigned'] = self._assignment

    @property
    def needs_teacher_head(self) -> bool:
        """Whether a record lies in the teacher's dense head, which must then run."""
        return any(
            isinstance(recorder, HeadOutputsRecorder)
            or str(getattr(recorder, 'source', '')).startswith('bbox_head')
            for recorder in self.teacher_recorders.recorders.values()
        )

    @property
    def blind_to_heads(self) -> list[str]:
        """Losses that compare the outputs of two dense heads without the batch."""
        return [
            name
            for name, mapping in self.loss_forward_mappings.items()
            if not self.takes_batch(name)
            and {True, False} == {r['from_student'] for r in mapping.values()}
            and all(map(self._is_of_head, mapping.values()))
        ]

    def _is_of_head(self, record: dict[str, Any]) -> bool:
        side = 'student' if record['from_student'] else 'teacher'
        recorders = getattr(self, f'{side}_recorders').recorders
        return isinstance(recorders[record['recorder']], HeadOutputsRecorder)

    @property
    def assigned(self) -> AssignedTargets | None:
        """The student's assigned targets of this step, if they were recorded."""
        if 'assigned' not in self.student_recorders.recorders:
            return None
        return self.student_recorders.get_recorder('assigned').get_record_data()

    def get_record(
        self,
        recorder: str,
        from_student: bool,
        record_idx: int = 0,
        data_idx: int | None = None,
        connector: str | None = None,
        connector_idx: int | None = None,
        levels: tuple[int, ...] | None = None,
    ) -> Any:
        """Fetch a record, choose levels of it, and pass it through a connector."""
        levels = None if levels is None else tuple(levels)  # a list from --cfg-options
        key = (recorder, from_student, record_idx, data_idx, levels, connector)
        if key not in self._connected:
            data = super().get_record(recorder, from_student, record_idx, data_idx)
            if levels is not None:
                data = _choose(recorder, data, levels)
            self._connected[key] = (
                self.connectors[connector](data) if connector else data
            )
        data = self._connected[key]
        return data if connector_idx is None else data[connector_idx]

    def compute_distill_losses(
        self, batch: BatchContext | None = None
    ) -> dict[str, Tensor]:
        """Compute every loss from the records of this step."""
        return {
            name: self.compute_loss(name, batch) for name in self.loss_forward_mappings
        }

    def compute_loss(self, name: str, batch: BatchContext | None = None) -> Tensor:
        """Compute one loss, given by its logged name (``loss_pkd``)."""
        return self.distill_losses[name](**self.loss_inputs(name, batch))

    def spatial_maps(self, name: str, batch: BatchContext | None = None) -> Maps:
        """What a loss looks at; see :meth:`aerialkd.losses.DistillLoss.spatial_maps`.

        Empty for losses of other packages.
        """
        loss = self.distill_losses[name]
        if not isinstance(loss, DistillLoss):
            return {}
        return loss.spatial_maps(**self.loss_inputs(name, batch))

    def masks(self, name: str, batch: BatchContext) -> Maps:
        """What the teacher and the boxes select; see :meth:`DistillLoss.masks`.

        Needs the teacher's records only. Empty for losses of other packages.
        """
        loss = self.distill_losses[name]
        record = self.loss_forward_mappings[name].get('preds_T')
        if not isinstance(loss, DistillLoss) or record is None:
            return {}
        return loss.masks(self.get_record(**record), batch)

    def loss_inputs(
        self, name: str, batch: BatchContext | None = None
    ) -> dict[str, Any]:
        """Arguments of a loss: records with levels chosen and connectors applied."""
        inputs: dict[str, Any] = {
            argument: self.get_record(**record)
            for argument, record in self.loss_forward_mappings[name].items()
        }
        if self.takes_batch(name):
            inputs['batch'] = batch
        return inputs

    def takes_batch(self, name: str) -> bool:
        """Whether a loss asks for the BatchContext."""
        return name in self._takes_batch

    def clear_records(self) -> None:
        """Drop every record, so that no graph outlives the step."""
        self._connected.clear()
        for manager in (self.student_recorders, self.teacher_recorders):
            for recorder in manager.recorders.values():
                recorder.reset_data_buffer()

    def _check_names(self, mappings: dict) -> None:
        losses = set(self.distill_losses)
        if losses != set(mappings):
            raise ConfigError(
                f'distiller: distill_losses has {sorted(losses)}, '
                f'loss_forward_mappings has {sorted(mappings)}; each loss needs one '
                'mapping of the same name.'
            )

    def _expand(self, name: str, mapping: str | dict) -> dict[str, dict]:
        """Bring a mapping to mmrazor's form and check every name in it."""
        if isinstance(mapping, str):
            mapping = {'recorder': mapping}
        if 'recorder' in mapping:
            mapping = dict(_both_sides(mapping))
        known = signature(self.distill_losses[name].forward).parameters
        for argument, record in mapping.items():
            where = f'loss_forward_mappings[{name!r}]'
            if argument not in known:
                raise ConfigError(
                    f'{where}: {type(self.distill_losses[name]).__name__}.forward has '
                    f'no argument {argument!r}; it has {", ".join(known)}.'
                )
            self._check_record(f'{where}[{argument!r}]', record)
        return mapping

    def _check_record(self, where: str, record: dict) -> None:
        unknown = set(record) - RECORD_KEYS - {'connector_idx'}
        if unknown or not {'recorder', 'from_student'} <= set(record):
            raise ConfigError(
                f"{where}: needs 'recorder' and 'from_student', knows "
                f'{sorted(RECORD_KEYS)}, got {sorted(record)}.'
            )
        side = 'student' if record['from_student'] else 'teacher'
        manager = getattr(self, f'{side}_recorders')
        if record['recorder'] not in manager.recorders:
            raise ConfigError(
                f'{where}: no {side} recorder {record["recorder"]!r}; there are '
                f'{sorted(manager.recorders)}. Add it under recorders.'
            )
        connector = record.get('connector')
        if connector and connector not in self.connectors:
            raise ConfigError(
                f'{where}: no connector {connector!r}; there are '
                f'{sorted(self.connectors)}. Add it under connectors.'
            )


def _both_sides(mapping: dict) -> Iterator[tuple[str, dict]]:
    """Expand ``dict(recorder=..., connector=...)`` to preds_S and preds_T."""
    common = {k: v for k, v in mapping.items() if k not in ('connector', 'connector_T')}
    for argument, from_student, key in (
        ('preds_S', True, 'connector'),
        ('preds_T', False, 'connector_T'),
    ):
        yield (
            argument,
            {**common, 'from_student': from_student, 'connector': mapping.get(key)},
        )


def _chosen(items: dict, only: Sequence[str]) -> dict:
    """The losses, or mappings, that ``only`` names, in its order."""
    unknown = set(only) - set(items)
    if unknown or not only:
        raise ConfigError(
            f'distiller.only: got {list(only)}, expected some of {sorted(items)}.'
        )
    return {name: items[name] for name in only}


def _strings(value: Any) -> Iterator[str]:
    """Every string in nested dicts and sequences: the names that mappings mention."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _log_names(items: dict) -> dict:
    """Give names the 'loss' that mmengine needs to add a value to the total."""
    return {
        name if 'loss' in name else f'loss_{name}': cfg for name, cfg in items.items()
    }


def _resolve(recorders: dict) -> dict:
    """Add the scope to recorder types; mmrazor's manager adds the suffix."""
    resolved = copy.deepcopy(recorders)
    for name, cfg in resolved.items():
        kind = cfg['type']
        if '.' in kind:
            continue
        for scope in ('aerialkd', 'mmrazor'):
            if TASK_UTILS.get(f'{scope}.{kind}Recorder') is not None:
                cfg['type'] = f'{scope}.{kind}'
                break
        else:
            raise ConfigError(
                f'recorders[{name!r}]: no recorder type {kind!r}. Ours: '
                "'ModuleOutputs', 'HeadOutputs', 'HeadTowers', 'AssignedTargets'; "
                "mmrazor's are written alike, without the suffix 'Recorder'."
            )
    return resolved


def _choose(recorder: str, data: Any, levels: tuple[int, ...]) -> tuple[Any, ...]:
    if not isinstance(data, (list, tuple)) or max(levels) >= len(data):
        have = len(data) if isinstance(data, (list, tuple)) else 'no'
        raise ConfigError(
            f'levels={tuple(levels)} of record {recorder!r}: it has {have} levels.'
        )
    return tuple(data[level] for level in levels)
