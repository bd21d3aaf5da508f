"""PositionAwareL2Loss: which maps are compared on which grid."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses import PositionAwareL2Loss
from aerialkd.losses.functional import key_positions, position_aware_l2
from aerialkd.structures import BatchContext
from tests.builders import fcos, retinanet

BOXES = [[[8.0, 8, 30, 30], [40, 20, 50, 60]], []]


def head(strides=(8, 16, 32, 64), upsample=None):
    cfg = retinanet()
    cfg.bbox_head.anchor_generator.strides = list(strides)
    if upsample:
        cfg.bbox_head.update(type='aerialkd.LARetinaHead', upsample=upsample)
    return MODELS.build(cfg).bbox_head


def context(student=None, teacher=None, scale=2.0, image=(64, 64), boxes=BOXES):
    samples = []
    for rows in boxes:
        sample = DetDataSample(metainfo=dict(img_shape=image))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(rows).reshape(-1, 4),
            labels=torch.zeros(len(rows), dtype=torch.long),
        )
        samples.append(sample)
    heads = student or head(), teacher or head()
    return BatchContext(samples, (64, 64), heads=heads, teacher_scale=scale)


def maps(*sizes, images=2, channels=5):
    return tuple(torch.randn(images, channels, size, size) for size in sizes)


def expected(batch, s, t, stride, level, threshold='adaptive'):
    """One level, from the functions alone."""
    generator = batch.prior_generator
    mask = key_positions(
        batch.boxes,
        batch.image_index,
        2,
        generator.base_anchors[level],
        (stride, stride),
        tuple(s.shape[-2:]),
        threshold,
    )
    assert mask.any()
    assert not mask.all()
    return position_aware_l2(s, t, mask)


def test_plain_student_sees_every_second_cell_of_the_teacher():
    batch = context()
    s, t = maps(8, 4, 2, 1), maps(16, 8, 4, 2)
    loss = PositionAwareL2Loss(levels=[0, 1], loss_weight=0.5)(s, t, batch)
    by_hand = sum(
        expected(batch, s[i], t[i][..., ::2, ::2], 8 * 2**i, i) for i in (0, 1)
    )
    assert loss.item() == pytest.approx(0.5 * by_hand.item(), rel=1e-5)


def test_la_enlarges_the_student():
    batch = context(head(upsample=2))
    s, t = maps(8, 4, 2, 1), maps(16, 8, 4, 2)
    large = s[0].repeat_interleave(2, 2).repeat_interleave(2, 3)
    loss = PositionAwareL2Loss(levels=[0], loss_weight=1)(s, t, batch)
    assert loss.item() == pytest.approx(expected(batch, large, t[0], 4, 0).item())


def test_la_compares_what_both_maps_have():
    """Half of 48 pixels: the student's last level rounds up, the teacher's does not."""
    batch = context(head(upsample=2), boxes=[[[8.0, 8, 20, 20]], []])
    s, t = maps(3, 2, 1, 1), maps(6, 3, 2, 1)
    large = s[1].repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :3, :3]
    loss = PositionAwareL2Loss(0.0, levels=[1], loss_weight=1)(s, t, batch)
    mask = PositionAwareL2Loss(0.0).masks(t, batch)['key positions'][1]
    assert mask.shape == (2, 3, 3)
    by_hand = position_aware_l2(large, t[1], mask.bool())
    assert loss.item() == pytest.approx(by_hand.item())


def test_fa_compares_cell_by_cell():
    batch = context(head((4, 8, 16, 32)))
    s, t = maps(16, 8, 4, 2), maps(16, 8, 4, 2)
    loss = PositionAwareL2Loss(levels=[0], loss_weight=1)(s, t, batch)
    assert loss.item() == pytest.approx(expected(batch, s[0], t[0], 4, 0).item())


def test_scale_one_and_a_half():
    batch = context(head(upsample=1.5), scale=1.5)
    s, t = maps(8, 4, 2, 1), maps(12, 6, 3, 2)
    rows = [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7]
    large = s[0][:, :, rows][..., rows]
    loss = PositionAwareL2Loss(levels=[0], loss_weight=1)(s, t, batch)
    by_hand = expected(batch, large, t[0], 8 / 1.5, 0)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.parametrize('threshold', ['adaptive', 'per_gt', 'nonzero', 0.5])
def test_the_threshold_is_passed_on(threshold):
    batch = context(head((4, 8, 16, 32)))
    s, t = maps(16, 8, 4, 2), maps(16, 8, 4, 2)
    loss = PositionAwareL2Loss(threshold, levels=[0], loss_weight=1)(s, t, batch)
    by_hand = expected(batch, s[0], t[0], 4, 0, threshold)
    assert loss.item() == pytest.approx(by_hand.item())


def test_wider_readings_have_wider_masks():
    batch = context(head((4, 8, 16, 32)))
    t = maps(16, 8, 4, 2)
    share = {
        threshold: PositionAwareL2Loss(threshold)
        .masks(t, batch)['key positions'][0]
        .mean()
        .item()
        for threshold in ('adaptive', 'per_gt', 'nonzero', 0.5)
    }
    assert share['adaptive'] > share['nonzero'] > 0
    assert share['adaptive'] > share[0.5] > 0


def test_levels_add_up_and_masks_match_what_is_compared():
    batch = context(head((4, 8, 16, 32)))
    s, t = maps(16, 8, 4, 2), maps(16, 8, 4, 2)
    every = PositionAwareL2Loss(loss_weight=1)
    parts = [
        PositionAwareL2Loss(levels=[i], loss_weight=1)(s, t, batch) for i in range(4)
    ]
    assert every(s, t, batch).item() == pytest.approx(sum(parts).item(), rel=1e-5)
    masks, shown = every.masks(t, batch), every.spatial_maps(s, t, batch)
    for mask, loss, part in zip(
        masks['key positions'], shown['loss'], parts, strict=True
    ):
        assert ((loss > 0) == (mask > 0)).all()
        assert (loss.sum() / mask.sum()).item() == pytest.approx(part.item(), rel=1e-4)


def test_padding_takes_no_part():
    s, t = maps(16, 8, 4, 2), maps(16, 8, 4, 2)
    boxes = [[[8.0, 8, 30, 30], [20, 20, 44, 60]], []]
    batch = context(head((4, 8, 16, 32)), image=(64, 40), boxes=boxes)
    mask = PositionAwareL2Loss(0.1).masks(t, batch)['key positions'][0]
    assert mask[..., :10].any()
    assert not mask[..., 10:].any()
    whole = context(head((4, 8, 16, 32)), boxes=boxes)
    assert PositionAwareL2Loss(0.1).masks(t, whole)['key positions'][0][..., 10:].any()
    assert PositionAwareL2Loss(0.1)(s, t, batch) != PositionAwareL2Loss(0.1)(
        s, t, whole
    )


def test_no_objects_no_loss():
    batch = context(boxes=[[], []])
    s = tuple(x.requires_grad_() for x in maps(8, 4, 2, 1))
    loss = PositionAwareL2Loss()(s, maps(16, 8, 4, 2), batch)
    loss.backward()
    assert loss == 0
    assert (s[0].grad == 0).all()


def test_no_gradient_to_the_teacher():
    s, t = (
        tuple(x.requires_grad_() for x in maps(*sizes))
        for sizes in ((8, 4, 2, 1), (16, 8, 4, 2))
    )
    PositionAwareL2Loss()(s, t, context()).backward()
    assert s[0].grad.abs().sum() > 0
    assert t[0].grad is None


def test_heads_of_points_need_anchors():
    student = MODELS.build(fcos()).bbox_head
    batch = context(student)
    s, t = maps(8, 4, 2, 1), maps(16, 8, 4, 2)
    with pytest.raises(ConfigError, match='anchors=dict'):
        PositionAwareL2Loss()(s, t, batch)
    anchors = retinanet().bbox_head.anchor_generator
    given = PositionAwareL2Loss(anchors=anchors)(s, t, batch)
    assert given.item() == pytest.approx(PositionAwareL2Loss()(s, t, context()).item())


def test_says_what_does_not_fit():
    batch = context()
    for levels in ([4], [-1]):
        with pytest.raises(ConfigError, match=r'levels: got .* 0 to 3'):
            PositionAwareL2Loss(levels=levels)(
                maps(8, 4, 2, 1), maps(16, 8, 4, 2), batch
            )
    with pytest.raises(ConfigError, match="'levels'"):
        PositionAwareL2Loss()(maps(8, 4), maps(16, 8), batch)
    with pytest.raises(ShapeError, match='PositionAwareL2Loss'):
        PositionAwareL2Loss()(maps(8, 4, 2, 1), maps(16, 8, 4, 2, channels=6), batch)
    with pytest.raises(ConfigError, match='threshold'):
        PositionAwareL2Loss('median')
