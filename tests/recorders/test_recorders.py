import contextlib

import pytest
import torch
from mmdet.models import FCOSHead
from mmengine.registry import MODELS
from torch import nn

from aerialkd.errors import ConfigError, RecordError
from aerialkd.recorders import (
    AssignedTargetsRecorder,
    HeadTowersRecorder,
    ModuleOutputsRecorder,
    tensors_of,
)
from aerialkd.structures import head_towers
from tests.builders import HEADS, batch, distill, fcos, pkd_distiller, retinanet


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


def towers(name, idx, **head):
    """A detector and its towers' recorder, attached."""
    cfg = HEADS[name]()
    if name != 'yolov8':
        cfg.bbox_head.stacked_convs = 3
    cfg.bbox_head.update(head)
    model = MODELS.build(cfg)
    recorder = HeadTowersRecorder(idx=idx)
    recorder.initialize(model)
    for module in model.modules():
        if getattr(module, 'inplace', False) is True:
            module.inplace = False
    return model, recorder


@pytest.mark.parametrize('idx', [1, 2])
@pytest.mark.parametrize('name', HEADS)
def test_towers_are_recorded_before_the_activation(name, idx):
    model, recorder = towers(name, idx)
    inputs = torch.randn(1, 3, 64, 96)
    feats = model.extract_feat(inputs)
    with recorder:
        outputs = model.bbox_head(feats)
    record = recorder.get_record_data()
    assert record.outputs is outputs
    assert record.idx == idx
    for number, (both, x) in enumerate(
        zip(head_towers(model.bbox_head), feats, strict=True)
    ):
        for tower, maps in ((both.cls, record.cls), (both.reg, record.reg)):
            assert len(maps) == len(feats)
            feat = x
            for conv in tower.convs[: idx - 1]:
                feat = conv(feat)
            if name != 'yolov8':  # batch norms in training look at the batch alone
                expected = tower.convs[idx - 1](feat, activate=False)
                torch.testing.assert_close(maps[number], expected)
            assert (maps[number] < 0).any()
    model.bbox_head(feats)  # not recording any more
    assert len(recorder.data_buffer) == 1
    assert not any(recorder._maps.values())  # nothing is kept alive


def test_every_pass_of_a_head_has_a_record_of_its_own():
    model, recorder = towers('retinanet', 1)
    feats = model.extract_feat(torch.randn(1, 3, 64, 64))
    with recorder:
        model.bbox_head(feats)
        model.bbox_head([2 * feat for feat in feats])
    first, second = (recorder.get_record_data(n) for n in (0, 1))
    assert [len(r.cls) for r in (first, second)] == [4, 4]
    assert not torch.equal(first.cls[0], second.cls[0])
    assert recorder.get_record_data(1, data_idx=2) is second.reg


def test_towers_overwritten_by_their_activation_are_an_error():
    model, recorder = towers('retinanet', 1)
    feats = model.extract_feat(torch.randn(1, 3, 64, 64))
    model.bbox_head.reg_convs[0].activate.inplace = True
    with recorder:
        model.bbox_head(feats)
    with pytest.raises(
        RecordError, match=r"output of 'bbox_head' was changed in place"
    ):
        recorder.get_record_data()


@pytest.mark.parametrize('idx', [0, 4, -1])
def test_towers_have_so_many_convolutions(idx):
    with pytest.raises(ConfigError, match=rf'got idx={idx}, expected 1 to 3'):
        towers('fcos', idx)


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
