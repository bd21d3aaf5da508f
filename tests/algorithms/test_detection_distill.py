"""Each promise of DetectionDistill; every test would fail on mmrazor's behaviour."""

import copy
import gc
import weakref

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from torch import nn

from aerialkd.errors import AerialKDError, CheckpointError, ConfigError, TeacherError
from aerialkd.recorders import tensors_of
from tests.builders import batch, distill, pkd_distiller, retinanet


def build(**overrides):
    torch.manual_seed(0)
    return MODELS.build(distill(**overrides)).train()


def step(model, data=None):
    data = model.data_preprocessor(data or batch(), True)
    losses = model(**data, mode='loss')
    return model.parse_losses(losses)


def counted(monkeypatch, owner, name):
    """Count the calls of a method."""
    calls, original = [], getattr(owner, name)

    def wrapper(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapper)
    return calls


def keep_records(monkeypatch, model):
    """Look at the records before they are dropped; returns {side: record}."""
    seen, original = {}, model.distiller.compute_distill_losses

    def compute(context=None):
        for side, from_student in (('student', True), ('teacher', False)):
            seen[side] = model.distiller.get_record('fpn', from_student)
        return original(context)

    monkeypatch.setattr(model.distiller, 'compute_distill_losses', compute)
    return seen


def test_a_step_reduces_both_losses():
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002)
    history = []
    for _ in range(12):
        loss, log = step(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({key: value.item() for key, value in log.items()})
    assert history[-1]['distill.loss_pkd'] < 0.9 * history[0]['distill.loss_pkd']
    assert set(history[0]) == {
        'loss',
        'student.loss_cls',
        'student.loss_bbox',
        'distill.loss_pkd',
    }


def test_teacher_loss_and_assignment_are_never_computed(monkeypatch):
    model = build()
    teacher, head = model.teacher, model.teacher.bbox_head
    calls = [
        counted(monkeypatch, owner, name)
        for owner, name in ((teacher, 'loss'), (head, 'loss'), (head, 'get_targets'))
    ]
    step(model)
    assert calls == [[], [], []]


def test_teacher_head_runs_only_when_a_record_asks_for_it(monkeypatch):
    model = build()
    calls = counted(monkeypatch, model.teacher.bbox_head, 'forward')
    step(model)
    assert calls == []
    recorders = dict(
        fpn=dict(type='ModuleOutputs', source='neck'),
        head=dict(type='HeadOutputs'),
    )
    model = build(distiller=pkd_distiller(recorders=recorders))
    calls = counted(monkeypatch, model.teacher.bbox_head, 'forward')
    step(model)
    assert calls == ['forward']


def test_teacher_is_fed_its_own_normalisation(monkeypatch):
    own = dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0])
    model = build(teacher=retinanet(width=16, preprocessor=own))
    seen, original = [], model.teacher.extract_feat

    def extract_feat(inputs):
        seen.append(inputs)
        return original(inputs)

    monkeypatch.setattr(model.teacher, 'extract_feat', extract_feat)
    step(model)
    expected = model.teacher.data_preprocessor(batch(), True)['inputs']
    assert torch.allclose(seen[0], expected, atol=1e-5)


def test_random_layers_of_the_teacher_are_off(monkeypatch):
    teacher = MODELS.build(retinanet(width=16))
    teacher.backbone.layer1.add_module('dropout', nn.Dropout(0.5))
    teacher.backbone.layer2.add_module('droppath', DropPath(0.5))
    model = build(teacher=teacher)
    model.train()
    seen, records = keep_records(monkeypatch, model), []
    for _ in range(2):
        step(model)
        records.append(seen['teacher'])
    for first, second in zip(*records, strict=True):
        assert torch.equal(first, second)
    assert not any(module.training for module in model.teacher.modules())


def test_state_dict_is_the_plain_student():
    model, plain = build(), MODELS.build(retinanet())
    assert set(model.state_dict()) == set(plain.state_dict())
    plain.load_state_dict(model.state_dict(), strict=True)
    assert set(get_state_dict(model)) == set(plain.state_dict())


def aligned_distiller(**overrides):
    """PKD through a trainable connector."""
    return pkd_distiller(
        connectors=dict(
            align=dict(
                type='aerialkd.PyramidAligner',
                in_channels=16,
                out_channels=16,
                num_levels=4,
            )
        ),
        loss_forward_mappings=dict(pkd=dict(recorder='fpn', connector='align')),
        **overrides,
    )


def test_state_dict_keeps_connectors_and_loads_back():
    model = build(distiller=aligned_distiller())
    state = copy.deepcopy(model.state_dict())
    extra = set(state) - set(MODELS.build(retinanet()).state_dict())
    assert extra == {
        f'distiller.connectors.align.convs.{i}.{kind}'
        for i in range(4)
        for kind in ('weight', 'bias')
    }
    other = build(distiller=aligned_distiller())
    for parameter in other.parameters():
        nn.init.constant_(parameter, 0.5)
    other.load_state_dict(state, strict=True)
    for key, value in other.state_dict().items():
        assert torch.equal(value, state[key]), key
    load_state_dict(other, state, strict=True)  # mmengine's own loader


def test_mmrazor_and_plain_checkpoints_load():
    model, plain = build(), MODELS.build(retinanet())
    load_state_dict(model, plain.state_dict(), strict=True)
    razor = {
        f'architecture.{key}': value + 1 for key, value in plain.state_dict().items()
    }
    load_state_dict(model, razor, strict=True)
    key = 'backbone.conv1.weight'
    assert torch.equal(model.state_dict()[key], plain.state_dict()[key] + 1)


def test_optimizer_and_buckets_hold_no_teacher_parameter(tmp_path):
    model = build(distiller=aligned_distiller())
    teachers = {id(parameter) for parameter in model.teacher.parameters()}
    assert not teachers & {id(parameter) for parameter in model.parameters()}
    assert not any('teacher' in name for name, _ in model.named_modules())
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        bucketed, _ = wrapped._build_params_for_reducer()
        assert not teachers & {id(parameter) for parameter in bucketed}
        data = model.data_preprocessor(batch(), True)
        for stopped in (False, False, True, True):  # a second step fails on unused ones
            model.distillation_stopped = stopped
            loss, _ = model.parse_losses(wrapped(**data, mode='loss'))
            loss.backward()
    finally:
        torch.distributed.destroy_process_group()


def test_teacher_moves_with_the_algorithm_and_copies_share_it():
    model = build().double()
    assert next(model.teacher.parameters()).dtype == torch.float64
    twin = copy.deepcopy(model)
    assert twin.teacher is model.teacher
    assert twin.student is not model.student


def test_init_weights_leaves_the_teacher_alone(tmp_path):
    checkpoint = save_teacher(tmp_path / 'teacher.pth')
    model = build(teacher_ckpt=checkpoint)
    before = copy.deepcopy(model.teacher.state_dict())
    model.init_weights()
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(value, before[key])


def save_teacher(path, classes=('car', 'van', 'bus'), change=None, **cfg):
    torch.manual_seed(1)
    state = MODELS.build(retinanet(width=16, **cfg)).state_dict()
    if change is not None:
        change(state)
    content = dict(state_dict=state, meta=dict(dataset_meta=dict(classes=classes)))
    torch.save(content, path)
    return str(path)


def test_teacher_checkpoint_is_loaded(tmp_path):
    checkpoint = save_teacher(tmp_path / 'teacher.pth')
    model = build(teacher_ckpt=checkpoint)
    expected = torch.load(checkpoint, weights_only=True)['state_dict']
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(value, expected[key])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda state: state.pop('neck.fpn_convs.0.conv.weight'),
            '1 missing from the file',
        ),
        (lambda state: state.update(extra=torch.zeros(1)), '1 not in the model: extra'),
        (
            lambda state: state.update(
                {'backbone.conv1.weight': torch.zeros(4, 3, 7, 7)}
            ),
            r'backbone.conv1.weight \(file \(4, 3, 7, 7\), model \(16, 3, 7, 7\)\)',
        ),
        (lambda state: state.clear(), 'not a state dict'),
    ],
)
def test_checkpoint_that_does_not_fit_is_an_error(tmp_path, change, message):
    checkpoint = save_teacher(tmp_path / 'teacher.pth', change=change)
    with pytest.raises(AerialKDError, match=message):
        build(teacher_ckpt=checkpoint)


def test_partial_checkpoint_with_an_allow_list(tmp_path):
    checkpoint = save_teacher(
        tmp_path / 'teacher.pth',
        change=lambda state: state.pop('bbox_head.retina_cls.bias'),
    )
    with pytest.raises(TeacherError, match='teacher_may_differ'):
        build(teacher_ckpt=checkpoint)
    build(teacher_ckpt=checkpoint, teacher_may_differ=['bbox_head.*'])


def test_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match='no such checkpoint file'):
        build(teacher_ckpt=str(tmp_path / 'nothing.pth'))


def test_teacher_with_another_number_of_classes_is_an_error():
    with pytest.raises(TeacherError, match='predicts 5 classes, the student 3'):
        build(teacher=retinanet(5, width=16))
    build(teacher=retinanet(5, width=16), check_classes=False)


def test_teacher_with_other_class_names_is_an_error(tmp_path):
    checkpoint = save_teacher(tmp_path / 'teacher.pth', classes=('car', 'bus', 'van'))
    model = build(teacher_ckpt=checkpoint)
    with pytest.raises(
        TeacherError, match=r'differ from position 1.*check_classes=False'
    ):
        model.frozen_teacher.check_classes(('car', 'van', 'bus'))
    model.frozen_teacher.check_classes(('car', 'bus', 'van'))


def test_recorded_convolutions_survive_in_place_activations(monkeypatch):
    # RetinaHead's stacked convolutions have an in-place ReLU right behind them.
    source = dict(fpn=dict(type='ModuleOutputs', source='bbox_head.cls_convs.0.conv'))
    model = build(distiller=pkd_distiller(recorders=source))
    seen = keep_records(monkeypatch, model)
    step(model)
    assert min(t.min().item() for t in tensors_of(seen['student'])) < 0
    assert min(t.min().item() for t in tensors_of(seen['teacher'])) < 0


def test_no_record_outlives_the_step(monkeypatch):
    model = build(distiller=aligned_distiller())
    references, original = [], model.distiller.compute_distill_losses

    def compute(context=None):
        for from_student in (True, False):
            record = model.distiller.get_record('fpn', from_student)
            references.extend(weakref.ref(tensor) for tensor in tensors_of(record))
        return original(context)

    monkeypatch.setattr(model.distiller, 'compute_distill_losses', compute)
    loss, log = step(model)
    loss.backward()
    del loss, log
    gc.collect()
    assert len(references) == 8
    assert all(reference() is None for reference in references)


def test_records_are_dropped_when_the_step_fails(monkeypatch):
    model = build()

    def fail(*args, **kwargs):
        raise RuntimeError('broken loss')

    monkeypatch.setattr(model.student.bbox_head, 'loss_by_feat', fail)
    with pytest.raises(RuntimeError, match='broken loss'):
        step(model)
    assert model.distiller.teacher_recorders.get_recorder('fpn').data_buffer == []


def test_validation_runs_the_student_alone(monkeypatch):
    model = build().eval()
    calls = counted(monkeypatch, model.teacher, 'extract_feat')
    data = model.data_preprocessor(batch(), False)
    with torch.no_grad():
        results = model(**data, mode='predict')
        expected = model.student(**data, mode='predict')
    assert calls == []
    for result, plain in zip(results, expected, strict=True):
        assert torch.equal(result.pred_instances.bboxes, plain.pred_instances.bboxes)


def test_no_teacher_forward_after_distillation_stopped(monkeypatch):
    model = build()
    calls = counted(monkeypatch, model.teacher, 'extract_feat')
    step(model)
    model.distillation_stopped = True
    _, log = step(model)
    assert len(calls) == 1
    assert set(log) == {'loss', 'student.loss_cls', 'student.loss_bbox'}


@pytest.mark.parametrize(
    'options',
    [
        dict(fuse_conv_bn=True),
        dict(channels_last=True),
        dict(autocast_dtype='bfloat16'),
    ],
)
def test_faster_teachers_give_the_same_records(monkeypatch, tmp_path, options):
    checkpoint = save_teacher(tmp_path / 'teacher.pth')
    records = []
    for chosen in ({}, options):
        model = build(teacher_ckpt=checkpoint, teacher_options=chosen)
        seen = keep_records(monkeypatch, model)
        step(model)
        records.append(seen['teacher'])
    tolerance = 3e-2 if 'autocast_dtype' in options else 1e-4
    for plain, fast in zip(*records, strict=True):
        assert (plain - fast).abs().max() <= tolerance * plain.abs().max()


def test_self_distillation_starts_at_zero(monkeypatch):
    teacher = MODELS.build(retinanet())
    model = build(teacher=teacher)
    model.student.load_state_dict(teacher.state_dict())
    model.student.backbone.norm_eval = True
    model.train()
    _, log = step(model)
    assert log['distill.loss_pkd'].item() == pytest.approx(0, abs=1e-4)


def test_a_distiller_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match='DetectionDistiller'):
        build(distiller=ConfigDict(type='mmrazor.ConfigurableDistiller'))
