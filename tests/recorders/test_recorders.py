import contextlib

import pytest
import torch
from mmdet.models import FCOSHead
from mmengine.registry import MODELS
from torch import nn

from aerialkd.errors import ConfigError, RecordError
from aerialkd.recorders import (
    AssignedTargetsRecorder,
    ModuleOutputsRecorder,
    tensors_of,
)
from tests.builders import batch, distill, fcos, pkd_distiller, retinanet


def recorded(model, source, inputs):
    recorder = ModuleOutputsRecorder(source)
    recorder.initialize(model)
    with recorder:
        model(inputs)
    return recorder


def test_keeps_every_call_while_recording():
    conv = nn.Conv2d(1, 1, 1)
    model = nn.Sequential(conv, conv)
    inputs = torch.randn(1, 1, 2, 2)
    recorder = recorded(model, '0', inputs)
    assert torch.equal(recorder.get_record_data(0), conv(inputs))
    assert torch.equal(recorder.get_record_data(1), conv(conv(inputs)))
    model(inputs)  # not recording any more
    with pytest.raises(RecordError, match='holds 2 records, record_idx=2'):
        recorder.get_record_data(2)
    recorder.reset_data_buffer()
    assert recorder.data_buffer == []


@pytest.mark.parametrize('inplace', [True, False])
def test_in_place_change_is_an_error(inplace):
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(inplace=inplace))
    recorder = recorded(model, '0', torch.randn(1, 1, 4, 4))
    if inplace:
        with pytest.raises(RecordError, match="output of '0' was changed in place"):
            recorder.get_record_data()
    else:
        recorder.get_record_data()


def test_tensors_of_nested_records():
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    assert list(tensors_of((a, [b, None, 'x'], {'k': (c,)}))) == [a, b, c]


def test_assignment_recorder_needs_a_head():
    with pytest.raises(ConfigError, match="no module 'bbox_head'"):
        AssignedTargetsRecorder().initialize(nn.Sequential())


def test_assignment_recorder_restores_the_head_after_an_exception():
    model = MODELS.build(retinanet())
    recorder = AssignedTargetsRecorder()
    recorder.initialize(model)
    with recorder:
        assert 'get_targets' in vars(model.bbox_head)
    assert 'get_targets' not in vars(model.bbox_head)
    with contextlib.suppress(RuntimeError), recorder:
        raise RuntimeError('stop')
    assert 'get_targets' not in vars(model.bbox_head)
    assert recorder.get_record_data() is None


def test_head_outputs_of_the_teacher_are_raw(monkeypatch):
    # FCOS multiplies its box outputs by the stride in evaluation mode.
    recorders = dict(fpn=dict(type='HeadOutputs'))
    distiller = pkd_distiller(
        recorders=recorders,
        loss_forward_mappings=dict(pkd=dict(recorder='fpn', data_idx=1)),
    )
    torch.manual_seed(0)
    student = MODELS.build(fcos())
    teacher = MODELS.build(fcos())
    teacher.load_state_dict(student.state_dict())
    model = MODELS.build(
        distill(architecture=student, teacher=teacher, distiller=distiller)
    )
    seen, original = [], model.distiller.compute_distill_losses

    def compute(context=None):
        seen.extend(
            model.distiller.get_record('fpn', side, data_idx=1)
            for side in (True, False)
        )
        return original(context)

    monkeypatch.setattr(model.distiller, 'compute_distill_losses', compute)
    model.student.backbone.norm_eval = True
    model.train()
    model(**model.data_preprocessor(batch(), True), mode='loss')
    assert isinstance(model.teacher.bbox_head, FCOSHead)
    for level_S, level_T in zip(*seen, strict=True):
        assert torch.allclose(level_S, level_T, rtol=1e-4, atol=1e-5)
    assert not model.teacher.bbox_head.training
