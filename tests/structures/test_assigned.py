"""Every served head's own assignment, in one form."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope

from aerialkd.errors import ConfigError, RecordError
from aerialkd.structures import AssignedTargets, BatchContext, flatten_levels
from tests.builders import HEADS, batch, distill, fcos, pkd_distiller, turned, yolov8

RESPONSIVE = dict(
    recorders=dict(head=dict(type='HeadOutputs')),
    distill_losses=dict(one=dict(type='aerialkd.ResponsiveLoss')),
    loss_forward_mappings=dict(one='head'),
)


def assigned(name, boxes=(3, 0)):
    """Of two images: the targets, what the head put out, and what its loss is."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    distiller = pkd_distiller(**RESPONSIVE)
    cfg = distill(
        architecture=HEADS[name](), teacher=HEADS[name](), distiller=distiller
    )
    model = MODELS.build(ConfigDict(cfg)).train()
    singles = [
        batch(((64, 96),), boxes=number, seed=i) for i, number in enumerate(boxes)
    ]
    data = {key: singles[0][key] + singles[1][key] for key in singles[0]}
    if name == 'rotated':
        turned(data)
    data = model.data_preprocessor(data, True)
    model.run_student(data['inputs'], data['data_samples'])
    context = model.context(data['inputs'], data['data_samples'])
    outputs = model.distiller.get_record('head', from_student=True)
    return context, outputs


@pytest.mark.parametrize('name', HEADS)
def test_one_form_for_all(name):
    context, outputs = assigned(name)
    targets = context.assigned
    logits = context.flat_logits(outputs[0])
    columns = 5 if name == 'rotated' else 4
    shape = logits.shape[:2]
    assert targets.labels.shape == targets.label_weights.shape == shape
    assert targets.bbox_targets.shape == targets.bbox_weights.shape == (*shape, columns)
    assert targets.priors.shape[:2] == shape
    assert sum(targets.num_level_priors) == shape[1]
    assert targets.positive[0].any()
    assert not targets.positive[1].any()  # an image without boxes
    assert (targets.label_weights[targets.positive] > 0).all()
    assert (targets.bbox_weights > 0).any(-1).equal(targets.positive)
    if name == 'yolov8':  # the sum of the target scores
        expected = targets.bbox_weights[..., 0].sum().clamp(min=1)
    elif name == 'fcos':
        expected = targets.positive.sum()
    else:  # mmdet counts at least one an image
        expected = targets.positive.sum(1).clamp(min=1).sum()
    assert targets.avg_factor.item() == pytest.approx(expected.item())
    assert targets.num_classes == 3


@pytest.mark.parametrize('name', HEADS)
def test_without_objects(name):
    targets = assigned(name, boxes=(0, 0))[0].assigned
    assert not targets.positive.any()
    assert targets.avg_factor.item() == (1 if name in ('fcos', 'yolov8') else 2)


def test_points_are_labelled_by_the_object_that_they_lie_in():
    """FCOS lists the images of a level behind each other."""
    context, _ = assigned('fcos', boxes=(3, 2))
    targets = context.assigned
    image, prior = targets.positive.nonzero(as_tuple=True)
    assert {0, 1} == set(image.tolist())
    for i, p in zip(image.tolist(), prior.tolist(), strict=True):
        x, y = targets.priors[i, p]
        boxes, labels = (
            context.boxes_list[i],
            context.data_samples[i].gt_instances.labels,
        )
        inside = (
            (boxes[:, :2] < torch.stack([x, y])) & (boxes[:, 2:] > torch.stack([x, y]))
        ).all(1)
        assert targets.labels[i, p] in labels[inside]
        # Distances to the sides in strides, as norm_on_bbox has them.
        level = sum(
            p >= end for end in torch.tensor(targets.num_level_priors).cumsum(0)
        )
        left, top, right, bottom = targets.bbox_targets[i, p] * 2 ** (3 + level)
        found = torch.stack([x - left, y - top, x + right, y + bottom])
        assert (boxes[inside] - found).abs().amax(1).min() < 1e-3


def test_priors_are_in_the_order_of_the_outputs():
    context, outputs = assigned('fcos')
    grid = [
        torch.stack(
            torch.meshgrid(
                *(8 * 2**i * (torch.arange(n) + 0.5) for n in level.shape[-2:]),
                indexing='ij',
            )[::-1]
        )[None]
        for i, level in enumerate(outputs[0])
    ]
    expected = flatten_levels(grid, 2).expand(2, -1, -1)
    torch.testing.assert_close(context.priors, expected)


def test_other_forms_are_refused():
    init_default_scope('mmdet')
    head = MODELS.build(fcos()).bbox_head
    of_auto_assign = ([torch.zeros(4, 4)], [torch.zeros(4, 1)])
    for result in ((1, 2), of_auto_assign, (1, 2, 3)):
        with pytest.raises(RecordError, match=r'FCOSHead.* returned'):
            AssignedTargets.from_get_targets(head, [torch.zeros(4, 2)], result)


@pytest.mark.parametrize('build', [fcos, yolov8])
def test_points_are_compared_prior_by_prior(build):
    init_default_scope('mmdet')
    one, other = (MODELS.build(build()).bbox_head for _ in range(2))
    samples = []  # not asked for

    def check(student, teacher, scale=1.0):
        context = BatchContext(samples, (64, 64), None, (student, teacher), scale)
        context.require_same_priors('This loss')

    check(one, other)
    finer = copy.deepcopy(one)
    strides = one.prior_generator.strides
    finer.prior_generator.strides = [(x / 2, y / 2) for x, y in strides]
    with pytest.raises(ConfigError, match=r'This loss .* but prior_generator differs'):
        check(finer, other)
    check(finer, other, scale=2.0)  # of a teacher at twice the student's scale
    moved = copy.deepcopy(one)
    moved.prior_generator.offset = 0.0
    with pytest.raises(ConfigError, match='prior_generator differs'):
        check(one, moved)
