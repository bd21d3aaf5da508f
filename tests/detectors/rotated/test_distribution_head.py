"""Rotated RetinaNet with distributions: sizes, losses, learning, inference."""

import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes

from aerialkd.errors import ConfigError
from tests.builders import (
    batch,
    dist_rotated_retinanet,
    retinanet,
    rotated_retinanet,
    turned,
)

pytestmark = pytest.mark.rounding

SIZES = [(7, 5), (4, 3), (2, 2), (1, 1)]


def build(**head):
    cfg = dist_rotated_retinanet()
    for key, value in head.items():
        cfg.bbox_head[key] = value
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def data(sizes=((64, 64),), boxes=2, seed=0):
    return turned(batch(sizes, boxes, seed))


def test_parameters():
    """As RetinaNet's, with nine channels for each of its box predictor's."""
    plain = MODELS.build(rotated_retinanet())
    ours = build()
    counts = [sum(p.numel() for p in m.parameters()) for m in (plain, ours)]
    predictor = plain.bbox_head.retina_reg
    one = sum(p.numel() for p in predictor.parameters())
    assert counts[1] - counts[0] == 8 * one
    assert ours.bbox_head.retina_reg.out_channels == 6 * 5 * 9
    assert set(ours.state_dict()) == set(plain.state_dict())


def test_output_shapes_on_odd_sizes():
    model = build()
    outputs = model.bbox_head(model.extract_feat(torch.randn(2, 3, 53, 37)))
    for levels, channels in zip(outputs, (6 * 3, 6 * 5 * 9), strict=True):
        assert [level.shape for level in levels] == [(2, channels, *s) for s in SIZES]


def test_deltas_are_expectations():
    head = build(intervals=4, bin_range=(-1.0, 3.0)).bbox_head
    dists = torch.full((1, 5 * 5), -1e4)
    for coordinate, chosen in enumerate((0, 1, 2, 4)):
        dists[0, coordinate * 5 + chosen] = 1e4
    dists[0, 20:] = 0  # uniform
    assert head.deltas(dists)[0].tolist() == pytest.approx([-1, 0, 1, 3, 1])


def test_untrained_predicts_its_anchors():
    model = build()
    outputs = model.bbox_head(model.extract_feat(torch.randn(1, 3, 64, 64)))
    deltas = model.bbox_head.deltas(
        outputs[1][0].permute(0, 2, 3, 1).reshape(-1, 5 * 9)
    )
    assert deltas.abs().max() < 0.05


class TestLosses:
    def losses(self, head, dists, encoded):
        """Of one image and one prior of the last level, which is positive."""
        anchors = head.prior_generator.grid_priors([(1, 1)] * 4, device='cpu')
        levels = [torch.full((1, 6 * 3, 1, 1), -10.0) for _ in range(4)]
        dist_levels = [torch.zeros(1, 6 * 45, 1, 1) for _ in range(4)]
        dist_levels[3] = dist_levels[3].clone()
        dist_levels[3][0, 2 * 45 : 3 * 45, 0, 0] = dists
        prior = anchors[3].tensor[2:3]
        target = head.bbox_coder.decode(prior, encoded[None])
        boxes = getattr(target, 'tensor', target)

        def get_targets(*_, **__):
            labels = [torch.full((1, 6), 3) for _ in range(4)]
            labels[3][0, 2] = 1
            weights = [torch.zeros(1, 6, 5) for _ in range(4)]
            weights[3][0, 2] = 1
            targets = [torch.zeros(1, 6, 5) for _ in range(4)]
            targets[3][0, 2] = boxes[0] if head.reg_decoded_bbox else encoded
            return labels, [torch.ones(1, 6) for _ in range(4)], targets, weights, 1

        head.get_targets = get_targets
        meta = dict(img_shape=(64, 64), pad_shape=(64, 64))
        gt = InstanceData(bboxes=RotatedBoxes(boxes), labels=torch.tensor([1]))
        found = head.loss_by_feat(levels, dist_levels, [gt], [meta])
        return {name: value.item() for name, value in found.items()}

    @pytest.mark.parametrize('decoded', [True, False])
    def test_distribution_focal_loss(self, decoded):
        """Between the bins beside the delta, mean of five; ends for what is beyond."""
        loss = dict(type='mmdet.L1Loss')
        head = build(reg_decoded_bbox=decoded, loss_bbox=loss).bbox_head
        dists = torch.randn(5, 9)
        encoded = torch.tensor([0.3, -0.7, 0.25, -2.4, 0.1])
        found = self.losses(head, dists.flatten(), encoded)
        total = 0
        for row, delta in zip(dists.double().numpy(), encoded.tolist(), strict=True):
            position = min(max((delta + 2) / 4 * 8, 0), 7.99)
            left = math.floor(position)
            logs = row - np.log(np.exp(row).sum())
            total -= (left + 1 - position) * logs[left]
            total -= (position - left) * logs[left + 1]
        assert found['loss_dfl'] == pytest.approx(0.25 * total / 5, rel=1e-4)
        if not decoded:  # of the expectations
            p = np.exp(dists.numpy()) / np.exp(dists.numpy()).sum(1, keepdims=True)
            expected = np.abs(p @ np.linspace(-2, 2, 9) - encoded.numpy()).sum()
            assert found['loss_bbox'] == pytest.approx(expected, rel=1e-4)

    def test_box_loss_is_nothing_at_the_target(self):
        head = build().bbox_head
        dists = torch.full((5, 9), -1e4)
        encoded = torch.tensor([0.5, -0.5, 0.0, 1.0, 0.5])
        for row, delta in zip(dists, encoded.tolist(), strict=True):
            row[int((delta + 2) * 2)] = 1e4
        found = self.losses(head, dists.flatten(), encoded)
        assert found['loss_bbox'] == pytest.approx(0, abs=2e-3)
        elsewhere = self.losses(head, dists.roll(1, 1).flatten(), encoded)
        assert elsewhere['loss_bbox'] > 0.1

    def test_class_loss_is_retinanets(self):
        ours = build()
        cfg = rotated_retinanet()
        plain = MODELS.build(cfg)
        state = ours.state_dict()
        names = [k for k in state if 'retina_reg' in k]
        plain.load_state_dict(
            {k: v for k, v in state.items() if k not in names}, strict=False
        )
        values = []
        for model in (ours.eval(), plain.eval()):
            inputs = model.data_preprocessor(data(((64, 96), (80, 64)), 3), True)
            feats = model.extract_feat(inputs['inputs'])
            losses = model.bbox_head.loss(feats, inputs['data_samples'])
            values.append(model.parse_losses(losses)[1]['loss_cls'])
        assert values[0].item() == pytest.approx(values[1].item(), rel=1e-4)


def test_images_without_objects():
    model = build().train()
    for boxes in ((0, 0), (0, 3)):
        raw = dict(inputs=[], data_samples=[])
        for index, number in enumerate(boxes):
            single = data(((64, 64),), number, index)
            for key in raw:
                raw[key] += single[key]
        losses = model(**model.data_preprocessor(raw, True), mode='loss')
        loss, log = model.parse_losses(losses)
        model.zero_grad()
        loss.backward()
        assert torch.isfinite(loss)
        assert (log['loss_dfl'] > 0) == any(boxes)
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_overfits_a_few_images():
    cfg = dist_rotated_retinanet()
    torch.manual_seed(0)
    cfg.neck.norm_cfg = dict(type='BN')
    cfg.bbox_head.norm_cfg = dict(type='GN', num_groups=4)
    model = MODELS.build(cfg)
    model.init_weights()
    model.train()
    sample = model.data_preprocessor(four_images(), True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        losses = model(**sample, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = model(**sample, mode='predict')
    for result in found:
        best = int(result.pred_instances.scores.argmax())
        box, (truth,) = result.pred_instances.bboxes[best], result.gt_instances.bboxes
        truth = truth.tensor[0] if hasattr(truth, 'tensor') else truth
        assert (box[:2] - truth[:2]).abs().max() < 4
        assert box[2:4].sort()[0].tolist() == pytest.approx(
            truth[2:4].sort()[0].tolist(), rel=0.3
        )


def four_images():
    """An object each, a bright rotated rectangle."""
    inputs, samples = [], []
    rows, columns = torch.meshgrid(*(torch.arange(64.0),) * 2, indexing='ij')
    for index in range(4):
        box = torch.tensor(
            [24.0 + 5 * index, 36.0 - 4 * index, 24.0, 12.0, 0.4 * index]
        )
        cos, sin = math.cos(box[4]), math.sin(box[4])
        x, y = columns - box[0], rows - box[1]
        inside = (x * cos + y * sin).abs() <= 12
        inside &= (y * cos - x * sin).abs() <= 6
        inputs.append((inside * 200 + 20).byte().expand(3, -1, -1).contiguous())
        meta = dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=RotatedBoxes(box[None]), labels=torch.tensor([index % 3])
        )
        sample.ignored_instances = InstanceData(
            bboxes=RotatedBoxes(torch.zeros(0, 5)),
            labels=torch.zeros(0, dtype=torch.long),
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


class TestMistakes:
    def test_range(self):
        with pytest.raises(ConfigError, match='intervals=0'):
            build(intervals=0)
        with pytest.raises(ConfigError, match='expected at least 1 over a range'):
            build(bin_range=(1.0, 1.0))

    def test_horizontal_coder(self):
        cfg = ConfigDict(retinanet())
        cfg.bbox_head.type = 'aerialkd.DistributionRotatedRetinaHead'
        with pytest.raises(ConfigError, match='expected one of rotated boxes'):
            MODELS.build(cfg)
