"""CrossKD on every family of heads: which layers of whom learn, what is refused."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from aerialkd.connectors import TowerAligner
from aerialkd.errors import ConfigError, ShapeError
from aerialkd.structures import TowerRecord
from tests.builders import HEADS, batch, distill, retinanet, turned, yolov8
from tests.shared_batch import freeze_batch_norms

pytestmark = pytest.mark.rounding


def crossing(name, width=None, idx=1, **options):
    """Distillation of two heads of a family, with two convolutions in each tower."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    student, teacher = HEADS[name](), HEADS[name]()
    if name == 'yolov8':
        teacher = yolov8(width=width or 0.125)
    for cfg in (student, teacher):
        if name != 'yolov8':
            cfg.bbox_head.stacked_convs = 2
        if name == 'gfl':
            cfg.bbox_head.loss_cls.use_sigmoid = True
    loss = dict(type='aerialkd.CrossKDLoss')
    if name == 'gfl':
        loss.update(compare='distributions')
    distiller = dict(
        type='aerialkd.DetectionDistiller',
        recorders=dict(towers=dict(type='HeadTowers', idx=idx)),
        distill_losses=dict(cross=loss),
        loss_forward_mappings=dict(cross='towers'),
    )
    distiller.update(options.pop('distiller', {}))
    models = dict(architecture=student, teacher=teacher, distiller=distiller)
    cfg = distill(**{**models, **options})
    model = MODELS.build(ConfigDict(cfg)).train()
    ready = isinstance(options.get('teacher'), nn.Module)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # untrained heads predict the same everywhere
        for detector in (model.student, model.teacher)[: 1 if ready else 2]:
            for key, parameter in detector.bbox_head.named_parameters():
                if parameter.ndim == 4:
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter += 0.1 * noise
                if key.endswith(('cls.bias', '2.bias')):
                    parameter.zero_()  # of predictors: not every score next to 0
                if 'reg' in key and 'bias' in key and name == 'fcos':
                    parameter += 0.5
    # With their initial statistics, nothing but rounding reaches a deep network's end.
    inputs = model.data_preprocessor(batch(), True)['inputs']
    if not ready:
        freeze_batch_norms(model.teacher, inputs)
    return model


def step(model, boxes=3, sizes=((64, 96), (80, 64))):
    data = batch(sizes, boxes=boxes)
    if model.student.bbox_head.num_classes == 1:
        for sample in data['data_samples']:
            sample.gt_instances.labels.zero_()
    if getattr(model.student.bbox_head.bbox_coder, 'encode_size', 4) == 5:
        turned(data)
    data = model.data_preprocessor(data, True)
    data['inputs'] = data['inputs'].to(next(model.parameters()).dtype)
    losses = model(**data, mode='loss')
    return losses['distill.loss_cross']


def learning(detector):
    """Parameters that got a gradient."""
    return {
        key
        for key, parameter in detector.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


@pytest.mark.parametrize('name', HEADS)
def test_only_what_lies_before_learns(name):
    model = crossing(name)
    loss = step(model)
    loss.backward()
    assert loss > 1e-6
    assert not learning(model.teacher)
    assert not any(p.requires_grad for p in model.teacher.parameters())
    assert not any(m.training for m in model.teacher.modules())
    student = learning(model.student)
    own = {'bbox_head.' + k for k, _ in model.student.bbox_head.named_parameters()}
    # The first convolution of both towers: every weight and norm of it, nothing else.
    if name == 'yolov8':
        first = ('cls_branches.{}.0.', 'reg_branches.{}.0.')
        first = [f.format(level) for f in first for level in range(3)]
    else:
        first = ['cls_convs.0.', 'reg_convs.0.']
    expected = {k for k in own if k.startswith(tuple(f'bbox_head.{f}' for f in first))}
    # What a norm takes away again changes nothing.
    assert own & student <= expected
    assert {k for k in expected if k.endswith('conv.weight')} <= student
    others = {k for k, p in model.student.named_parameters() if p.requires_grad} - own
    backbone = {k for k in others if k.startswith('backbone.') and 'conv' in k}
    assert len(backbone & student) > 0.8 * len(backbone)
    assert all(
        p.grad.isfinite().all() for p in model.parameters() if p.grad is not None
    )


@pytest.mark.parametrize('idx', [1, 2])
@pytest.mark.parametrize('name', HEADS)
def test_the_teachers_own_features_give_its_own_predictions(name, idx):
    model = crossing(name, idx=idx)
    model.student.load_state_dict(model.teacher.state_dict())
    inputs = model.data_preprocessor(batch(), True)['inputs']
    model.observe(inputs, batch()['data_samples'], annotated=False)
    s, t = (model.distiller.get_record('towers', side) for side in (True, False))
    loss = model.distiller.distill_losses['loss_cross']
    cross = loss.cross_predictions(s, t, model.teacher.bbox_head)
    for levels, own in zip(cross, t.outputs, strict=False):
        for level, expected in zip(levels, own, strict=True):
            scale = max(expected.abs().max().item(), 1)
            torch.testing.assert_close(level, expected, rtol=1e-3, atol=1e-3 * scale)
    model.distiller.clear_records()


@pytest.mark.parametrize('name', HEADS)
def test_images_without_boxes(name):
    model = crossing(name)
    loss = step(model, boxes=0)
    loss.backward()
    assert loss.isfinite()
    assert all(
        p.grad.isfinite().all() for p in model.parameters() if p.grad is not None
    )


def test_towers_of_other_depth():
    """Behind the student's first of two convolutions and the teacher's second."""
    recorders = {
        f'{side}_recorders': dict(towers=dict(type='HeadTowers', idx=idx))
        for side, idx in (('student', 1), ('teacher', 2))
    }
    model = crossing('retinanet', distiller=dict(recorders={}, **recorders))
    step(model).backward()
    seen = []
    convs = model.teacher.bbox_head.cls_convs
    for number, conv in enumerate(convs):
        conv.conv.register_forward_hook(lambda *_, n=number: seen.append(n))
    step(model)
    assert seen == [0, 1] * 4  # the teacher's own pass: nothing follows but predictors


class TestOtherChannels:
    ALIGNED = dict(
        connectors=dict(
            align=dict(
                type='aerialkd.TowerAligner',
                cls=dict(in_channels=32, out_channels=64, num_levels=3),
            )
        ),
        loss_forward_mappings=dict(cross=dict(recorder='towers', connector='align')),
    )

    def test_an_adapter_learns(self):
        model = crossing('yolov8', width=0.25, distiller=self.ALIGNED)
        step(model).backward()
        for parameter in model.distiller.parameters():
            assert parameter.grad is not None
        convs = model.distiller.connectors['align'].cls.convs
        assert all(conv.weight.grad.abs().sum() > 0 for conv in convs)

    def test_without_one_the_error_says_how(self):
        with pytest.raises(
            ShapeError, match=r'cls=dict\(in_channels=32, out_channels=64'
        ):
            step(crossing('yolov8', width=0.25))

    def test_both_towers(self):
        pyramid = dict(in_channels=2, out_channels=3, num_levels=1)
        aligner = TowerAligner(cls=pyramid, reg={**pyramid, 'out_channels': 4})
        maps = [(torch.randn(1, 2, 3, 3),) for _ in ('cls', 'reg')]
        record = TowerRecord(('outputs',), *maps, 2)
        aligned = aligner(record)
        assert torch.equal(aligned.cls[0], aligner.cls.convs[0](record.cls[0]))
        assert torch.equal(aligned.reg[0], aligner.reg.convs[0](record.reg[0]))
        assert aligned.outputs == ('outputs',)
        assert aligned.idx == 2
        only = TowerAligner(reg=pyramid)(record)
        assert only.cls is record.cls
        assert only.reg[0].shape[1] == 3
        with pytest.raises(ConfigError, match='got neither cls nor reg'):
            TowerAligner()
        with pytest.raises(ConfigError, match=r"type 'HeadTowers'; PyramidAligner"):
            aligner(record.cls)


def test_one_class():
    init_default_scope('mmdet')
    model = crossing('retinanet', architecture=one_class(), teacher=one_class())
    loss = step(model)
    loss.backward()
    assert 0 < loss < 1e3


def one_class():
    cfg = retinanet(num_classes=1)
    cfg.bbox_head.stacked_convs = 2
    return cfg


@pytest.mark.parametrize(
    ('options', 'rel'),
    [
        # In double precision, but for the head's outputs: 6e-8 each, weighed by slopes.
        (dict(fuse_conv_bn=True), 1e-5),
        (dict(channels_last=True), 1e-5),
        (dict(autocast_dtype='bfloat16'), 0.2),  # eight bits through the whole network
    ],
    ids=str,
)
def test_a_faster_teacher_gives_the_same(options, rel):
    plain = crossing('yolov8')
    teacher = MODELS.build(yolov8())
    teacher.load_state_dict(plain.teacher.state_dict())
    faster = crossing('yolov8', teacher=teacher, teacher_options=options)
    if 'autocast_dtype' not in options:
        plain, faster = plain.double(), faster.double()
    assert step(faster).item() == pytest.approx(step(plain).item(), rel=rel)


def test_heads_must_fit():
    narrow = retinanet()
    narrow.bbox_head.stacked_convs = 2
    narrow.bbox_head.anchor_generator.octave_base_scale = 3
    with pytest.raises(ConfigError, match=r'CrossKDLoss .* prior_generator differs'):
        step(crossing('retinanet', teacher=narrow))
    with pytest.raises(ConfigError, match=r'got idx=3, expected 1 to 2, .* RetinaHead'):
        crossing('retinanet', idx=3)
    with pytest.raises(ConfigError, match=r'got idx=0'):
        crossing('retinanet', idx=0)


def test_heads_on_a_finer_grid_are_refused():
    student = retinanet()
    student.bbox_head.update(type='aerialkd.LARetinaHead', upsample=2, stacked_convs=2)
    model = crossing(
        'retinanet', type='aerialkd.CrossScaleDistill', architecture=student
    )
    with pytest.raises(ShapeError, match=r'predicts on a finer grid .* \(LA\)'):
        step(model, sizes=((128, 192),))


def test_scales_of_levels_are_the_teachers():
    """What the cross-head predictions are multiplied with."""
    model = crossing('gfl')
    before = step(model).item()
    with torch.no_grad():
        for scale in model.student.bbox_head.scales:
            scale.scale.fill_(7.0)
    assert step(model).item() == pytest.approx(before)
    with torch.no_grad():
        model.teacher.bbox_head.scales[0].scale.fill_(7.0)
    assert step(model).item() != pytest.approx(before)
