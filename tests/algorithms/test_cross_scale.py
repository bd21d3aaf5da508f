"""CrossScaleDistill: one loader, two frames that agree."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes
from torch.nn import functional as F

from aerialkd.errors import ConfigError
from tests.builders import (
    batch,
    fcos,
    gfl,
    pkd_distiller,
    retinanet,
    rotated_retinanet,
    yolov8,
)

pytestmark = pytest.mark.rounding

SIZES = ((128, 192), (130, 100))  # 144 would do for the student alone


def position_distiller(**options):
    return pkd_distiller(
        distill_losses=dict(pos=dict(type='aerialkd.PositionAwareL2Loss', **options)),
        loss_forward_mappings=dict(pos='fpn'),
    )


def with_la(cfg, upsample=2):
    kind = cfg.bbox_head.type.removeprefix('mmdet.')
    cfg.bbox_head.update(type=f'aerialkd.LA{kind}', upsample=upsample)
    return cfg


def with_fa(cfg):
    cfg.neck.start_level = 0
    cfg.bbox_head.anchor_generator.strides = [4, 8, 16, 32]
    return cfg


STUDENTS = {
    'plain': lambda: retinanet(),
    'LA': lambda: with_la(retinanet()),
    'FA': lambda: with_fa(retinanet()),
}


def build(student=None, **overrides):
    torch.manual_seed(0)
    cfg = dict(
        type='aerialkd.CrossScaleDistill',
        architecture=student or retinanet(),
        teacher=retinanet(),
        distiller=position_distiller(),
    )
    return MODELS.build(ConfigDict({**cfg, **overrides})).train()


def step(model, data=None):
    data = model.data_preprocessor(data or batch(SIZES), True)
    total, log = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    return {name: value.item() for name, value in log.items()}


@pytest.mark.parametrize('scale', [2, 1.5, 4, 1, 0.5])
def test_both_views_hold_the_same_batch(scale):
    model = build(scale=scale)
    data = model.data_preprocessor(batch(SIZES), True)
    teachers, students = model.views(**data)
    height, width = teachers.inputs.shape[-2:]
    assert (height, width) == tuple(
        int(side * scale) for side in students.inputs.shape[-2:]
    )
    assert all(side % 32 == 0 for side in students.inputs.shape[-2:])
    assert height % 32 == width % 32 == 0  # for the teacher
    assert teachers.inputs is data['inputs']
    for big, small in zip(teachers.samples, students.samples, strict=True):
        assert torch.allclose(
            small.gt_instances.bboxes * scale, big.gt_instances.bboxes
        )
        assert small.gt_instances.labels is big.gt_instances.labels
        assert small.batch_input_shape == tuple(students.inputs.shape[-2:])
        assert small.img_shape == tuple(-int(-s // scale) for s in big.img_shape)
        assert small.scale_factor == (1 / scale, 1 / scale)
        assert big.img_shape in SIZES  # left as it was


def test_the_student_sees_a_filtered_image_of_its_size():
    model = build(antialias=True)
    data = model.data_preprocessor(batch(SIZES), True)
    seen = model.views(**data)[1].inputs
    half = F.interpolate(
        data['inputs'], scale_factor=0.5, mode='bilinear', antialias=True
    )
    assert torch.equal(seen, half)
    # A checkerboard of single pixels is grey when it is filtered, not black or white.
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    board = board.expand(1, 3, 64, 64).float()
    seen = model.views(board, [])[1].inputs
    assert torch.allclose(seen[..., 4:-4, 4:-4], torch.full((), 0.5), atol=1e-6)


@pytest.mark.parametrize('student', STUDENTS)
@pytest.mark.parametrize('scale', [2, 1.5])
def test_every_student_trains(student, scale):
    cfg = STUDENTS[student]()
    if student == 'LA':
        cfg.bbox_head.upsample = scale
    log = step(build(cfg, scale=scale))
    assert all(value > 0 for value in log.values()), log


@pytest.mark.parametrize(
    ('student', 'teacher'),
    [(gfl, gfl), (fcos, gfl), (gfl, fcos), (retinanet, fcos), (yolov8, yolov8)],
)
def test_any_pair_with_a_pyramid(student, teacher):
    model = build(student(), teacher=teacher(), distiller=pkd_distiller())
    assert step(model)['distill.loss_pkd'] > 0


def test_gfl_with_layer_adaption():
    assert step(build(with_la(gfl()), teacher=gfl()))['distill.loss_pos'] > 0


def test_rotated_boxes():
    data = batch(SIZES)
    for sample in data['data_samples']:
        boxes = sample.gt_instances.bboxes
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        boxes = torch.cat([centre, size, torch.full((len(boxes), 1), 0.7)], 1)
        sample.gt_instances.bboxes = RotatedBoxes(boxes)
        sample.ignored_instances = InstanceData(
            bboxes=RotatedBoxes(boxes[:1]), labels=torch.zeros(1, dtype=torch.long)
        )
    model = build(with_la(rotated_retinanet()), teacher=rotated_retinanet())
    big, small = (
        v.samples[0] for v in model.views(**model.data_preprocessor(data, True))
    )
    expected = big.gt_instances.bboxes.tensor.clone()
    expected[:, :4] /= 2
    assert torch.allclose(small.gt_instances.bboxes.tensor, expected)
    assert torch.allclose(small.ignored_instances.bboxes.tensor, expected[:1])
    assert step(model, data)['distill.loss_pos'] > 0


def test_the_frames_agree_on_boxes_and_priors():
    model = build(with_fa(retinanet()), teacher=retinanet())
    views = model.views(**model.data_preprocessor(batch(SIZES), True))
    context = model.context(*views[1])
    context.require_same_priors('test')
    sizes = [(x, x) for x in (16, 8, 4, 2)]
    # Deltas of zero are the anchors themselves.
    nothing = [torch.zeros(2, 6 * 4, *size) for size in sizes]
    ours, theirs = (
        context.decoded_boxes(nothing, student) for student in (True, False)
    )
    assert torch.allclose(ours, theirs, atol=1e-4)
    plain = build(retinanet(), teacher=retinanet())
    with pytest.raises(ConfigError, match=r'prior_generator differs.*times 2'):
        plain.context(*views[1]).require_same_priors('test')


def test_losses_of_the_head_compare_the_same_priors():
    distiller = pkd_distiller(
        recorders=dict(head=dict(type='HeadOutputs')),
        distill_losses=dict(
            cls=dict(type='aerialkd.SoftClassLoss'),
            reg=dict(type='aerialkd.SoftRegressionLoss'),
            all=dict(type='aerialkd.ResponsiveLoss', loss_weight=1.0),
        ),
        loss_forward_mappings=dict(cls='head', reg='head', all='head'),
    )
    data = batch(((128, 128),) * 2)
    log = step(build(with_fa(retinanet()), distiller=distiller), data)
    assert all(value > 0 for value in log.values()), log
    log = step(build(with_la(retinanet()), distiller=distiller), data)
    assert all(value > 0 for value in log.values()), log


def test_prediction_takes_images_of_the_students_size():
    model = build().eval()
    data = batch(((96, 96),))
    with torch.no_grad():
        found = model.val_step(data)
        alone = model.student.test_step(data)
    assert found[0].batch_input_shape == (96, 96)  # not padded for a teacher
    assert torch.equal(found[0].pred_instances.bboxes, alone[0].pred_instances.bboxes)
    assert len(found[0].pred_instances) > 0


def test_a_preprocessor_of_the_algorithm_serves_both_scales():
    data = batch(((96, 96),))
    other = dict(retinanet().data_preprocessor, mean=[0.0] * 3, std=[1.0] * 3)
    model = build(data_preprocessor=other).eval()
    seen = []
    model.student.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    with torch.no_grad():
        model.val_step(data)
        model.train()(**model.data_preprocessor(data, True), mode='loss')
    assert [tuple(x.shape[-2:]) for x in seen] == [(96, 96), (64, 64)]
    assert all(x.max() > 100 for x in seen)  # pixels, not standardised


def test_after_the_stop_the_student_still_sees_its_own_size():
    model = build()
    model.distillation_stopped = True
    seen = []
    model.student.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].shape[-2:])
    )
    step(model, batch(((128, 128),)))
    assert seen == [(64, 64)]


def test_refuses_what_it_cannot_shrink():
    model = build()
    with pytest.raises(ConfigError, match='does not shrink by 2 without a remainder'):
        model.views(torch.zeros(1, 3, 63, 64), [])
    data = model.data_preprocessor(batch(((64, 64),)), True)
    sample = data['data_samples'][0]
    sample.gt_instances = InstanceData(
        **dict(sample.gt_instances.items()), masks=[0] * 3
    )
    with pytest.raises(ConfigError, match='instance masks'):
        model.views(**data)
    student = retinanet()
    student.data_preprocessor = dict(type='BaseDataPreprocessor')
    with pytest.raises(ConfigError, match='pad_size_divisor'):
        build(student)


@pytest.mark.parametrize('scale', [0, -2, 3.14159, 100])
def test_refuses_scales_that_are_no_ratio(scale):
    with pytest.raises(ConfigError, match=r'CrossScaleDistill\.scale'):
        build(scale=scale)
