import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch.nn import functional as F

from aerialkd.detectors.yolov8 import complete_iou
from aerialkd.engine.profile import made_batch
from aerialkd.recorders import AssignedTargetsRecorder
from tests.builders import batch, distill, yolov8

pytestmark = pytest.mark.rounding


def detector(**head):
    cfg = yolov8()
    cfg.bbox_head.update(head)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def peak(*bins, height=50.0):
    """A distribution that is (nearly) one at the bin of each side."""
    dists = torch.zeros(4, 16)
    dists[range(4), list(bins)] = height
    return dists.flatten()


def losses(model, data):
    data = model.data_preprocessor(data, True)
    return model(**data, mode='loss')


def test_decoding_a_worked_example():
    head = detector().bbox_head
    dists = torch.stack([peak(1, 2, 3, 4), peak(0, 0, 15, 15), torch.zeros(64)])
    priors = torch.tensor([[40.0, 40], [16, 32], [100, 100]])
    boxes = head.decode(dists, priors, torch.tensor([8.0, 16, 8]))
    expected = [
        [40.0 - 8, 40 - 16, 40 + 24, 40 + 32],
        [16, 32, 16 + 15 * 16, 32 + 15 * 16],
        [100 - 60, 100 - 60, 100 + 60, 100 + 60],  # uniform: 7.5 strides
    ]
    torch.testing.assert_close(boxes, torch.tensor(expected))
    halves = torch.full((4, 16), -50.0)
    halves[:, 2:4] = 0  # equal shares of the bins 2 and 3
    box = head.decode(halves.flatten()[None], priors[:1], torch.tensor([8.0]))
    assert box.tolist() == [[20, 20, 60, 60]]
    # Batches of images share the points.
    assert head.decode(dists.expand(5, 3, 64), priors, torch.ones(3)).shape == (5, 3, 4)


def outputs(dist=None):
    """Outputs for one image of 32 pixels: 16, 4 and 1 cells, all alike."""
    dist = peak(1, 1, 1, 1) if dist is None else dist
    scores = [torch.full((1, 3, size, size), -2.0) for size in (4, 2, 1)]
    dists = [dist[None, :, None, None].expand(1, 64, s, s).clone() for s in (4, 2, 1)]
    return [x.requires_grad_() for x in scores], [x.requires_grad_() for x in dists]


def loss_values(head, scores, dists, objects):
    metas = [{} for _ in objects]
    found = head.loss_by_feat(scores, dists, objects, metas)
    return {name: value.item() for name, value in found.items()}


def one_object(box, label=0):
    return InstanceData(bboxes=torch.tensor([box]), labels=torch.tensor([label]))


def test_losses_of_a_worked_example():
    """One object, found exactly by one point: it is the only one with weight 1."""
    head = detector(train_cfg=None, times_batch_size=False).bbox_head
    head.assigner.topk = 1
    scores, dists = outputs()
    # Cell (1, 1) of stride 8 lies at (12, 12); one stride on each side.
    found = loss_values(head, scores, dists, [one_object([4.0, 4, 20, 20])])
    # 21 cells of three classes; sigmoid(-2) everywhere, one target of 1.
    entropy = 62 * F.softplus(torch.tensor(-2.0)) + F.softplus(torch.tensor(2.0))
    assert found['loss_cls'] == pytest.approx(0.5 * float(entropy), rel=1e-5)
    assert found['loss_bbox'] == pytest.approx(0, abs=1e-4)
    assert found['loss_dfl'] == pytest.approx(0, abs=1e-4)

    # The object is larger: 1.5 strides to the left, between two bins.
    box = torch.tensor([[0.0, 4, 20, 20]])
    found = loss_values(head, scores, dists, [one_object(box[0].tolist())])
    u = float(complete_iou(torch.tensor([[4.0, 4, 20, 20]]), box))
    # The sum of target scores is u < 1: the divisor stays 1.
    assert found['loss_bbox'] == pytest.approx(7.5 * u * (1 - u), rel=1e-4)
    # Half the cross entropy of the bin 2, which lies 50 below, on one of four sides.
    assert found['loss_dfl'] == pytest.approx(1.5 * u * 25 / 4, rel=1e-3)


def test_sides_beyond_the_last_bin():
    """18.75 strides are taught as 14.99: the loss reads the bin above, too."""
    head = detector(times_batch_size=False).bbox_head
    head.assigner.topk = 1
    scores, dists = outputs(peak(15, 15, 15, 15))
    box = torch.tensor([[12.0 - 150, 12 - 150, 12 + 150, 12 + 150]])
    found = loss_values(head, scores, dists, [one_object(box[0].tolist())])
    u = float(complete_iou(box, torch.tensor([[-108.0, -108, 132, 132]])))
    # A hundredth of the cross entropy of bin 14, which lies 50 below, on each side.
    assert found['loss_dfl'] == pytest.approx(1.5 * u * 0.5, rel=1e-3)


def test_times_the_batch_size():
    scores, dists = outputs()
    scores, dists = ([x.expand(2, *x.shape[1:]) for x in y] for y in (scores, dists))
    objects = [one_object([4.0, 4, 20, 20]), one_object([0.0, 0, 24, 20])]
    plain = detector(times_batch_size=False).bbox_head
    first, second = (
        loss_values(head, scores, dists, objects)
        for head in (plain, detector().bbox_head)
    )
    for name, value in first.items():
        assert value > 0
        assert second[name] == pytest.approx(2 * value)


def test_ignored_regions_take_no_part_in_the_class_loss():
    head = detector(times_batch_size=False).bbox_head
    scores, dists = outputs()
    ignored = one_object([0.0, 0, 16, 32])  # 8 cells of stride 8, 2 of 16
    nothing = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    found = head.loss_by_feat(scores, dists, [nothing], [{}], [ignored])
    entropy = (21 - 10) * 3 * F.softplus(torch.tensor(-2.0))
    assert found['loss_cls'].item() == pytest.approx(0.5 * float(entropy), rel=1e-5)
    found['loss_cls'].backward()
    assert (scores[0].grad[0, :, :, :2] == 0).all()
    assert (scores[0].grad[0, :, :, 2:] > 0).all()


@pytest.mark.parametrize('boxes', [0, 5])
def test_every_parameter_has_a_gradient(boxes):
    """Also without objects: other GPUs wait for it."""
    model = detector()
    found = losses(model, batch(boxes=boxes))
    total = sum(found.values())
    total.backward()
    assert math.isfinite(total.item())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
    if not boxes:
        assert found['loss_bbox'].item() == found['loss_dfl'].item() == 0


def test_assigned_targets_are_recorded():
    model = detector()
    recorder = AssignedTargetsRecorder()
    recorder.initialize(model)
    data = model.data_preprocessor(batch(boxes=4), True)
    with recorder:
        model(**data, mode='loss')
    assigned = recorder.get_record_data()
    rows, columns = data['inputs'].shape[-2:]
    levels = tuple(rows * columns // stride**2 for stride in (8, 16, 32))
    total = sum(levels)
    assert assigned.num_level_priors == levels
    assert assigned.labels.shape == assigned.label_weights.shape == (2, total)
    assert assigned.bbox_targets.shape == assigned.bbox_weights.shape == (2, total, 4)
    assert assigned.priors.shape == (2, total, 2)
    assert assigned.num_classes == 3
    assert assigned.priors[0, [0, levels[0]]].tolist() == [[4, 4], [8, 8]]
    assert assigned.positive.any()
    score = assigned.bbox_weights[..., 0]
    assert float(assigned.avg_factor) == pytest.approx(max(float(score.sum()), 1))
    assert (score[~assigned.positive] == 0).all()
    # Each positive is told an object of its own image, around its point.
    for image, sample in enumerate(data['data_samples']):
        positive = assigned.positive[image]
        targets = assigned.bbox_targets[image, positive]
        known = sample.gt_instances.bboxes
        assert (targets[:, None] == known).all(-1).any(1).all()
        points = assigned.priors[image, positive]
        assert (points > targets[:, :2]).all()
        assert (points < targets[:, 2:]).all()


def test_half_precision_is_decoded_in_single():
    model = detector()
    data = model.data_preprocessor(batch(sizes=((32, 64),)), True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = model(**data, mode='loss')
    assert all(value.dtype == torch.float for value in found.values())
    sum(found.values()).backward()


@torch.no_grad()
def test_predictions_go_back_to_the_original_image():
    """Half its size in the network, and padded from 40 x 64 to 64 x 64 there."""
    model = detector().eval()
    for branch in model.bbox_head.reg_branches:
        branch[-1].bias.view(4, 16)[:, 2] = 8  # about two strides on each side
    meta = dict(img_shape=(40, 64), ori_shape=(80, 128), scale_factor=(0.5, 0.5))
    image = torch.randint(0, 256, (3, 40, 64), dtype=torch.uint8)
    data = dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)])
    images = model.data_preprocessor(data)['inputs']
    assert images.shape[-2:] == (64, 64)
    assert images[0, :, 40:].unique().tolist() == pytest.approx([114 / 255])
    found = model.test_step(data)[0].pred_instances
    assert len(found.bboxes) == 20
    assert (found.bboxes >= 0).all()
    # Clipped to the image, not to the padding.
    assert found.bboxes[:, 2].max() <= 128
    assert found.bboxes[:, 3].max() == 80

    scores, dists = model.bbox_head(model.extract_feat(images))
    level = max(range(3), key=lambda i: float(scores[i].max()))
    assert float(found.scores[0]) == pytest.approx(float(scores[level].max().sigmoid()))
    row, column = divmod(int(scores[level][0].amax(0).argmax()), scores[level].shape[3])
    stride = 8 * 2**level
    point = (torch.tensor([[column, row]]) + 0.5) * stride
    box = model.bbox_head.decode(
        dists[level][0, :, row, column][None], point, torch.tensor([stride])
    )
    limit = torch.tensor([64.0, 40, 64, 40])
    expected = (box[0].clamp(min=0).minimum(limit) * 2).tolist()
    assert found.bboxes[0].tolist() == pytest.approx(expected, abs=1e-3)


OBJECTS = (  # boxes and classes in four images of 64 pixels
    ([[4.0, 6, 24, 22], [34, 30, 60, 58]], [0, 1]),
    ([[30.0, 4, 62, 28], [8, 36, 26, 60]], [2, 0]),
    ([[10.0, 10, 52, 54]], [1]),
    ([[2.0, 34, 22, 60], [40, 8, 58, 26]], [2, 1]),
)


def coloured_objects():
    """Each class has a colour of its own on grey."""
    data = batch(sizes=((64, 64),) * 4, boxes=1)
    for i, (boxes, labels) in enumerate(OBJECTS):
        data['inputs'][i].fill_(114)
        for box, label in zip(boxes, labels, strict=True):
            x1, y1, x2, y2 = map(int, box)
            data['inputs'][i][:, y1:y2, x1:x2] = 0
            data['inputs'][i][label, y1:y2, x1:x2] = 255
        data['data_samples'][i].gt_instances = InstanceData(
            bboxes=torch.tensor(boxes), labels=torch.tensor(labels)
        )
    return data


def test_overfits_four_images():
    model, data = detector().train(), coloured_objects()
    steps = 120  # with these, twenty seeds of twenty reach an IoU of .98, scores of .86
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(losses(model, data).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        scheduler.step()
    model.eval()
    # The network that has learnt these images normalises by their own statistics. Kept
    # ones are another: a kept variance is n / (n - 1) times that, and n is 16 at stride
    # 32, so that every norm shrinks by 3 %.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train()
    for sample, (boxes, labels) in zip(model.test_step(data), OBJECTS, strict=True):
        found = sample.pred_instances[: len(boxes)]
        assert (found.scores > 0.5).all()
        for box, label in zip(torch.tensor(boxes), labels, strict=True):
            ious = complete_iou(found.bboxes, box.expand_as(found.bboxes))
            assert ious.max() > 0.8
            assert found.labels[ious.argmax()] == label


def test_made_batch_of_the_profile():
    student, teacher = yolov8(), yolov8(width=0.25)
    cfg = distill(architecture=student, teacher=teacher)
    cfg.distiller.loss_forward_mappings = dict(pkd='fpn')
    cfg.distiller.connectors = dict()
    model = MODELS.build(cfg)
    data = made_batch(model, 1, (64, 96), boxes=5)
    found = model.student(**data, mode='loss')
    assert all(math.isfinite(value.item()) for value in found.values())
    assert found['loss_bbox'].item() > 0
