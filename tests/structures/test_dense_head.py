"""Every head's predictions, decoded for all priors, against the head's own decoding."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from aerialkd.errors import ConfigError
from aerialkd.structures import (
    box_bins,
    decode_boxes,
    flatten_levels,
    select_priors,
    select_values,
    sums_of_cells,
)
from tests.builders import (
    atss,
    dist_rotated_retinanet,
    fcos,
    gfl,
    retinanet,
    rotated_retinanet,
    yolov8,
)

SIZES = ((8, 12), (4, 6), (2, 3), (1, 2))


def rtmdet():
    cfg = gfl()
    cfg.bbox_head = ConfigDict(
        type='mmdet.RTMDetHead',
        num_classes=3,
        in_channels=16,
        stacked_convs=1,
        feat_channels=16,
        with_objectness=False,
        norm_cfg=dict(type='BN'),
        anchor_generator=dict(
            type='mmdet.MlvlPointGenerator', offset=0, strides=[8, 16, 32, 64]
        ),
        bbox_coder=dict(type='mmdet.DistancePointBBoxCoder'),
        loss_cls=dict(type='mmdet.QualityFocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='mmdet.GIoULoss'),
    )
    return cfg


def built(cfg):
    """The head, with weights that move the boxes."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    with torch.no_grad():
        for parameter in model.bbox_head.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.bbox_head.eval()


@pytest.mark.parametrize(
    'builder',
    [
        retinanet,
        gfl,
        atss,
        fcos,
        rtmdet,
        yolov8,
        rotated_retinanet,
        dist_rotated_retinanet,
    ],
)
def test_boxes_are_those_that_the_head_predicts(builder):
    """Without suppression, a head returns each of its boxes, sorted by score."""
    head = built(builder())
    sizes, channels = (SIZES, [16] * 4)
    if builder is yolov8:
        sizes, channels = SIZES[:3], [32, 64, 128]
    maps = zip(channels, sizes, strict=True)
    feats = [torch.randn(1, width, *size) for width, size in maps]
    with torch.no_grad():
        head.training = True  # as the recorders see it
        recorded = head(feats)
        head.training = False
        outputs = head(feats)
    boxes = decode_boxes(head, recorded[1])
    scores = flatten_levels(recorded[0], head.cls_out_channels).sigmoid()
    everything = ConfigDict(
        nms_pre=10**6, score_thr=0.0, min_bbox_size=-1, max_per_img=10**6
    )
    meta = dict(img_shape=(10**6, 10**6), scale_factor=(1.0, 1.0))
    (found,) = head.predict_by_feat(
        *outputs, batch_img_metas=[meta], cfg=everything, with_nms=False
    )
    found = get_box_tensor(found.bboxes).clamp(min=0)  # clipped to the image
    mine = boxes[0].clamp(min=0).repeat_interleave(scores.shape[-1], 0)
    mine = mine[scores.flatten().argsort(descending=True, stable=True)]
    assert len(found) == len(mine) > 100
    # As sets of boxes: equal scores may be in another order.
    torch.testing.assert_close(
        found.double().sum(0), mine.double().sum(0), rtol=1e-3, atol=1e-2
    )
    torch.testing.assert_close(
        found.square().sum(1).sort()[0],
        mine.square().sum(1).sort()[0],
        rtol=1e-3,
        atol=1e-2,
    )


def test_each_image_is_decoded_by_itself():
    head = built(rotated_retinanet())
    preds = [torch.randn(3, 6 * 5, *size) for size in SIZES]
    together = decode_boxes(head, preds)
    alone = decode_boxes(head, [level[1:2] for level in preds])
    assert together.shape == (3, 6 * (96 + 24 + 6 + 2), 5)
    torch.testing.assert_close(together[1:2], alone)


def test_levels_are_listed_in_mmdets_order():
    level = torch.arange(2 * 6 * 2 * 3).view(2, 6, 2, 3)
    flat = flatten_levels([level, level], 3)
    assert flat.shape == (2, 24, 3)
    # Second image, row 1, column 2, second prior of the cell.
    assert flat[1, (1 * 3 + 2) * 2 + 1].tolist() == level[1, 3:, 1, 2].tolist()


def test_selected_priors_are_those_of_the_list():
    maps = [torch.randn(2, 3 * 4, *size, requires_grad=True) for size in SIZES]
    every = flatten_levels(maps, 4)
    chosen = torch.rand(every.shape[:2]) < 0.2
    numbers = torch.arange(every.shape[0] * every.shape[1]).view(every.shape[:2])
    order = select_values(numbers, maps, 4, chosen)
    assert sorted(order.tolist()) == numbers[chosen].tolist()
    found = select_priors(maps, 4, chosen)
    assert torch.equal(found, every.flatten(0, 1)[order])
    found.square().sum().backward()
    gradient = flatten_levels([x.grad for x in maps], 4)
    assert torch.equal(gradient, 2 * every.detach() * chosen[..., None])
    assert select_priors(maps, 4, chosen & False).shape == (0, 4)


def test_bins_of_distributions():
    def bins(builder):
        return box_bins(MODELS.build(builder()).bbox_head).tolist()

    assert bins(gfl) == list(range(9))
    assert bins(yolov8) == list(range(16))
    assert bins(dist_rotated_retinanet) == [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]
    for builder in (retinanet, fcos, atss):
        with pytest.raises(ConfigError, match='expected a distribution over bins'):
            bins(builder)


def test_sums_go_back_to_their_cells():
    values = torch.rand(2, 2 * (6 + 2))
    maps = sums_of_cells(values, [(2, 3), (1, 2)])
    assert [m.shape for m in maps] == [(2, 2, 3), (2, 1, 2)]
    assert maps[0][1, 1, 2] == values[1, (1 * 3 + 2) * 2 :][:2].sum()
    assert maps[1][0, 0, 1] == values[0, -2:].sum()


def test_unknown_encodings_are_refused():
    cfg = atss()
    cfg.bbox_head.update(type='mmdet.TOODHead')
    cfg.train_cfg = dict(
        initial_epoch=1,
        initial_assigner=dict(type='mmdet.ATSSAssigner', topk=9),
        assigner=dict(type='mmdet.TaskAlignedAssigner', topk=13),
        alpha=1,
        beta=6,
    )
    head = built(cfg)
    with pytest.raises(ConfigError, match='TOODHead: how it encodes boxes'):
        decode_boxes(head, [torch.zeros(1, 4, *size) for size in SIZES])
