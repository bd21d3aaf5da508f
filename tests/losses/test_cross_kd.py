"""CrossKD: what it computes, and which layers of whom learn from it."""

import itertools
from unittest.mock import patch

import numpy as np
import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

from aerialkd.errors import ConfigError, ShapeError
from aerialkd.losses import CrossKDLoss
from aerialkd.structures import (
    AssignedTargets,
    BatchContext,
    Tower,
    TowerRecord,
    Towers,
)
from tests.builders import retinanet


def context(head, label_weights, positives=1.0, columns=4):
    """Images without objects, whose priors (N, L) have the given label weights."""
    weights = torch.as_tensor(label_weights, dtype=torch.float32)
    none = torch.zeros(*weights.shape, columns)
    assigned = AssignedTargets(
        labels=torch.full(weights.shape, 9),
        label_weights=weights,
        bbox_targets=none,
        bbox_weights=none,
        priors=none,
        num_level_priors=(weights.shape[1],),
        avg_factor=torch.tensor(float(positives)),
        num_classes=head.cls_out_channels,
    )
    samples = []
    for _ in weights:
        sample = DetDataSample(metainfo=dict(img_shape=(32, 32)))
        sample.gt_instances = InstanceData(
            bboxes=none[0, :0], labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return BatchContext(samples, (32, 32), lambda: assigned, (head, head))


class Head:
    """A class and a box a cell; predictors that only shift."""

    class Generator:
        def __init__(self):
            self.strides = ((8, 8),)

        def grid_priors(self, sizes, device):
            return [torch.zeros(height * width, 2) for height, width in sizes]

    cls_out_channels, bbox_coder = 1, Generator()

    def __init__(self):
        self.prior_generator = self.Generator()
        self.convs = [ConvModule(1, 1, 1)]

    def towers(self, level):
        return Towers(
            Tower(self.convs, lambda x: x - 7), Tower(self.convs, lambda x: x)
        )

    def decode(self, preds, priors, strides):
        return preds


def row(*cells):
    """A map (1, C, 1, W) of one level from the channels of each cell."""
    return (torch.tensor(cells).T[None, :, None, :],)


class TestByHand:
    """Two cells of one level."""

    def records(self):
        # Student 0 and 2: mean 1, deviation sqrt(2). Teacher 5 and 9: mean 7, deviation
        # sqrt(8). So the student's become 5 and 9, of which the predictor takes 7.
        # Boxes of the student do not vary: the teacher's mean is left of them.
        box = [0.0, 0, 2, 2]
        s = TowerRecord((), row([0.0], [2.0]), row([1.0] * 4, [1.0] * 4), 1)
        outputs = (
            row([np.log(3)], [0.0]),
            row([0.0, 0, 2, 1], [3.0, 0, 4, 1]),
        )
        return s, TowerRecord(outputs, row([5.0], [9.0]), row(box, box), 1)

    CLASSES = (
        # - 3/4 log p - 1/4 log(1 - p) with p = sigmoid(-2), times |3/4 - p|
        (np.log(1 + np.exp(2)) * 0.75 + np.log(1 + np.exp(-2)) * 0.25)
        * (0.75 - 1 / (1 + np.exp(2))),
        (np.log(1 + np.exp(-2)) * 0.5 + np.log(1 + np.exp(2)) * 0.5)
        * (1 / (1 + np.exp(-2)) - 0.5),
    )
    # IoU 1/2 in a box of area 4; IoU 0, union 5 in a box of area 8.
    BOXES = (1 / 2, 1 + 3 / 8)

    def test_worked_example(self):
        s, t = self.records()
        batch = context(Head(), [[1.0, 1.0]], positives=2)
        loss = CrossKDLoss()(s, t, batch)
        boxes = (0.75 * self.BOXES[0] + 0.5 * self.BOXES[1]) / (0.75 + 0.5)
        assert loss.item() == pytest.approx(sum(self.CLASSES) / 2 + boxes, rel=1e-4)
        weighted = CrossKDLoss(cls_weight=3.0, reg_weight=5.0, loss_weight=2.0)
        expected = 2 * (3 * sum(self.CLASSES) / 2 + 5 * boxes)
        assert weighted(s, t, batch).item() == pytest.approx(expected, rel=1e-4)

    def test_label_weights(self):
        s, t = self.records()
        loss = CrossKDLoss()
        # Half a label weighs the class, not the box; none leaves both out. A sum of
        # weights below 1 counts as 1.
        half = loss(s, t, context(Head(), [[0.5, 0.0]]))
        expected = 0.5 * self.CLASSES[0] + 0.75 * self.BOXES[0]
        assert half.item() == pytest.approx(expected, rel=1e-4)

    def test_weights_are_averaged_over_processes(self):
        """An untrained teacher gives all images alike: two processes would not tell."""
        s, t = self.records()
        batch = context(Head(), [[1.0, 1.0]])
        loss = CrossKDLoss(cls_weight=0.0)
        alone = loss(s, t, batch).item()
        name = 'aerialkd.structures.normaliser.reduce_mean'
        with patch(name, side_effect=lambda count: 2 * count):
            assert loss(s, t, batch).item() == pytest.approx(alone / 2)

    def test_shows_the_share_of_each_cell(self):
        s, t = self.records()
        batch = context(Head(), [[1.0, 1.0]])
        maps = CrossKDLoss().spatial_maps(s, t, batch)
        classes, boxes = (m[0].flatten().tolist() for m in maps.values())
        assert classes == pytest.approx(self.CLASSES, rel=1e-4)
        assert boxes == pytest.approx([0.75 / 2, 0.5 * 11 / 8], rel=1e-4)
        (scores,) = CrossKDLoss().masks(t, batch)['teacher score']
        assert scores.flatten().tolist() == pytest.approx([0.75, 0.5])
        assert CrossKDLoss().spatial_maps(s, t) == {}

    def test_mistakes_are_named(self):
        s, t = self.records()
        batch = context(Head(), [[1.0, 1.0]])
        with pytest.raises(ConfigError, match=r"got a tuple.*type 'HeadTowers'"):
            CrossKDLoss()(s, t.outputs, batch)
        with pytest.raises(ConfigError, match='4 channels of boxes for 1 priors'):
            CrossKDLoss(compare='distributions')(s, t, batch)
        wide = s._replace(reg=row([1.0] * 3, [1.0] * 3))
        with pytest.raises(ShapeError, match=r'reg tower: the student has 3 .* take 4'):
            CrossKDLoss()(wide, t, batch)
        longer = s._replace(cls=row([0.0], [2.0], [3.0]))
        with pytest.raises(ShapeError, match=r'\(1, 1, 1, 3\), .* \(1, 1, 1, 2\)'):
            CrossKDLoss()(longer, t, batch)
        softmax = Head()
        softmax.use_sigmoid_cls = False
        with pytest.raises(ConfigError, match='use_sigmoid=True'):
            CrossKDLoss()(s, t, context(softmax, [[1.0, 1.0]]))
        with pytest.raises(ConfigError, match='compare: got'):
            CrossKDLoss(compare='iou')
        with pytest.raises(ConfigError, match='reg_weight: got -1'):
            CrossKDLoss(reg_weight=-1)


def test_thin_rotated_boxes():
    """In single precision their Gaussians have no determinant, and no loss."""
    thin, turned = [50.0, 50, 900, 0.1, 0.7], [50.0, 50, 900, 0.1, 0.8]
    batch = context(Head(), [[1.0] * 2], columns=5)

    def value(box):
        s = TowerRecord((), row([0.0], [2.0]), row([1.0] * 5, [1.0] * 5), 1)
        outputs = (row([-2.0], [2.0]), row(thin, thin))
        t = TowerRecord(outputs, s.cls, row(box, box), 1)
        return CrossKDLoss(cls_weight=0.0)(s, t, batch)

    assert value(thin).item() == pytest.approx(0, abs=1e-2)
    assert 0.1 < value(turned) < 1


def numpy_conv(x, conv):
    """3x3, padded, (N, C, H, W)."""
    weight, bias = (p.detach().numpy() for p in (conv.weight, conv.bias))
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(x), len(weight), height, width)) + bias[:, None, None]
    for i, j in itertools.product(range(3), repeat=2):
        part = padded[:, :, i : i + height, j : j + width]
        out += np.einsum('oc,nchw->nohw', weight[:, :, i, j], part)
    return out


def numpy_matched(s, t):
    axes = dict(axis=(0, 2, 3), keepdims=True)
    unit = (s - s.mean(**axes)) / (s.std(ddof=1, **axes) + 1e-6)
    return unit * t.std(ddof=1, **axes) + t.mean(**axes)


def numpy_giou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    area = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    inter = np.prod(np.maximum(high - low, 0))
    union = sum(area) - inter
    around = np.prod(np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2]))
    return inter / union - (around - union) / around


def numpy_decoded(anchor, deltas):
    size = anchor[2:] - anchor[:2]
    centre = (anchor[2:] + anchor[:2]) / 2 + deltas[:2] * size
    size = size * np.exp(deltas[2:])
    return np.concatenate([centre - size / 2, centre + size / 2])


ANCHORS = dict(octave_base_scale=2, scales_per_octave=1, ratios=[0.5, 1.0])
LEVELS = ((4, 4), (2, 2))


def two_level_head(**options):
    """A RetinaHead of three convolutions, two anchors a cell and two classes."""
    init_default_scope('mmdet')
    cfg = retinanet(num_classes=2).bbox_head
    anchors = dict(type='mmdet.AnchorGenerator', strides=[8, 16], **ANCHORS)
    cfg.update(
        feat_channels=5, stacked_convs=3, anchor_generator=anchors, in_channels=4
    )
    cfg.update(options)
    head = MODELS.build(cfg).double().eval().requires_grad_(False)
    for parameter in head.parameters():
        parameter.normal_(0, 0.1)  # no box at the coder's limits
    return head


def random_records(channels=5, idx=2, num=2, dtype=torch.float64):
    def maps(width):
        return tuple(2 * torch.randn(num, width, *size, dtype=dtype) for size in LEVELS)

    outputs = (maps(4), tuple(level / 4 for level in maps(8)))
    records = [TowerRecord(outputs, maps(channels), maps(channels), idx) for _ in 'st']
    return records[0]._replace(outputs=()), records[1]


@pytest.mark.parametrize('idx', [1, 2, 3])
def test_numpy_oracle(idx):
    head = two_level_head()
    s, t = random_records(idx=idx)
    label_weights = torch.rand(2, 40).round(decimals=1) * (torch.rand(2, 40) > 0.3)
    loss = CrossKDLoss(cls_weight=2.0)(s, t, context(head, label_weights, 3))
    classes = boxes = total = 0.0
    start = 0
    anchors = [
        a.numpy() for a in head.prior_generator.grid_priors(LEVELS, device='cpu')
    ]
    for level, (height, width) in enumerate(LEVELS):
        crossed = []
        for kind, convs, last in (
            ('cls', head.cls_convs, head.retina_cls),
            ('reg', head.reg_convs, head.retina_reg),
        ):
            own, other = (getattr(x, kind)[level].numpy() for x in (s, t))
            x = np.maximum(numpy_matched(own, other), 0)
            for conv in convs[idx:]:
                x = np.maximum(numpy_conv(x, conv.conv), 0)
            crossed.append(numpy_conv(x, last))
        outputs = [x[level].numpy() for x in t.outputs]
        for n, y, x, a in itertools.product(
            range(2), range(height), range(width), range(2)
        ):
            prior = (y * width + x) * 2 + a
            weight = label_weights[n, start + prior].item()
            scores = (z[n, 2 * a : 2 * a + 2, y, x] for z in (crossed[0], outputs[0]))
            p, q = (1 / (1 + np.exp(-z)) for z in scores)
            entropy = -(q * np.log(p) + (1 - q) * np.log(1 - p))
            classes += weight * (entropy * abs(q - p)).sum()
            best = q.max() * (weight > 0)
            deltas = (z[n, 4 * a : 4 * a + 4, y, x] for z in (crossed[1], outputs[1]))
            boxes += best * (
                1
                - numpy_giou(*(numpy_decoded(anchors[level][prior], d) for d in deltas))
            )
            total += best
        start += height * width * 2
    assert total > 1
    assert loss.item() == pytest.approx(2 * classes / 3 + boxes / total, rel=1e-5)


def test_distributions_are_summed_over_bins_and_averaged_over_sides():
    """The divergence of GFL's sides; two priors a cell to tell them apart."""

    class Distributions(Head):
        cls_out_channels = 2

        def towers(self, level):
            return Towers(
                Tower(self.convs, lambda x: x), Tower(self.convs, lambda x: x)
            )

    bins = 3
    reg = torch.rand(1, 2 * 4 * bins, 1, 2) + 0.1  # above 0, which ReLU leaves
    other = torch.randn(1, 2 * 4 * bins, 1, 2)
    cls = torch.rand(1, 4, 1, 2)
    s = TowerRecord((), (cls,), (reg,), 1)
    t = TowerRecord(((cls,), (other,)), (cls,), (reg,), 1)
    loss = CrossKDLoss(compare='distributions', reg_weight=4.0)
    value = loss(s, t, context(Distributions(), [[1.0] * 4])).item()
    expected = weights = 0.0
    for x, prior in itertools.product(range(2), range(2)):
        weight = 1 / (1 + np.exp(-cls[0, 2 * prior : 2 * prior + 2, 0, x].max().item()))
        for side in range(4):
            first = (prior * 4 + side) * bins
            p, q = (
                torch.softmax(m[0, first : first + bins, 0, x].double(), 0).numpy()
                for m in (reg, other)
            )
            expected += weight * (q * np.log(q / p)).sum() / 4
        weights += weight
    # The statistics are the teacher's own: no class term.
    assert value == pytest.approx(4 * expected / weights, rel=1e-4)


def value_and_gradient(s, t, head, positives=1.0, num=2, label_weight=1.0):
    """Of the maps in the student's towers."""
    s = s._replace(
        cls=tuple(x.clone().requires_grad_() for x in s.cls),
        reg=tuple(x.clone().requires_grad_() for x in s.reg),
    )
    cells = sum(level[0, 0].numel() for level in s.cls)
    weights = torch.full((num, 2 * cells), label_weight)
    loss = CrossKDLoss()(s, t, context(head, weights, positives))
    return loss, torch.autograd.grad(loss, (*s.cls, *s.reg))


def each(record, change):
    return record._replace(
        cls=tuple(change(x) for x in record.cls),
        reg=tuple(change(x) for x in record.reg),
    )


class TestDegenerate:
    @pytest.mark.parametrize('whose', ['student', 'teacher', 'both'])
    def test_constant_maps(self, whose):
        s, t = random_records()
        if whose != 'teacher':
            s = each(s, lambda x: torch.full_like(x, 3.3))
        if whose != 'student':
            t = each(t, lambda x: torch.full_like(x, -1.7))
        loss, gradients = value_and_gradient(s, t, two_level_head())
        assert loss.isfinite()
        for gradient in gradients:
            assert gradient.abs().max() < 1e3  # neither infinite nor a million times

    def test_single_cells(self):
        s, t = random_records(num=1)

        def corner(x):
            return x[..., :1, :1]

        s, t = each(s, corner), each(t, corner)
        t = t._replace(outputs=tuple(tuple(map(corner, x)) for x in t.outputs))
        loss, gradients = value_and_gradient(s, t, two_level_head(), num=1)
        assert loss.isfinite()
        assert all(gradient.abs().max() == 0 for gradient in gradients)

    def test_saturated_scores(self):
        s, t = random_records()
        for scores in (1e4, -1e4):
            outputs = (tuple(torch.full_like(x, scores) for x in t.outputs[0]),)
            high = t._replace(outputs=(*outputs, t.outputs[1]))
            head = two_level_head()
            head.retina_cls.bias += -scores
            loss, gradients = value_and_gradient(s, high, head)
            assert loss.isfinite()
            assert all(gradient.isfinite().all() for gradient in gradients)

    def test_no_prior_takes_part(self):
        loss, gradients = value_and_gradient(
            *random_records(), two_level_head(), label_weight=0.0
        )
        assert loss == 0
        assert all(gradient.abs().max() == 0 for gradient in gradients)


def test_slopes_are_those_of_differences():
    head = two_level_head()
    s, t = random_records()
    assert torch.autograd.gradcheck(
        lambda x: CrossKDLoss()(
            s._replace(cls=(x, s.cls[1]), reg=(x, s.reg[1])),
            t,
            context(head, torch.ones(2, 40)),
        ),
        (s.cls[0].clone().requires_grad_(),),
        nondet_tol=0,
        rtol=1e-2,  # boxes are decoded in single precision
        atol=1e-3,
        eps=1e-3,
    )


def test_no_gradient_to_the_teachers_records():
    head = two_level_head()
    s, t = random_records()
    s = each(s, lambda x: x.requires_grad_())
    t = each(t, lambda x: x.requires_grad_())
    for level in (*t.outputs[0], *t.outputs[1]):
        level.requires_grad_()
    CrossKDLoss()(s, t, context(head, torch.ones(2, 40))).backward()
    of_teacher = (*t.cls, *t.reg, *t.outputs[0], *t.outputs[1], *head.parameters())
    assert all(x.grad is None for x in of_teacher)
    assert all(x.grad is not None for x in (*s.cls, *s.reg))


def test_half_precision_agrees():
    head = two_level_head().float()
    s, t = random_records(dtype=torch.float32)
    batch = context(head, torch.ones(2, 40))
    full = CrossKDLoss()(s, t, batch).item()

    def half(x):
        return x.bfloat16()

    low = each(t, half)._replace(outputs=tuple(tuple(map(half, o)) for o in t.outputs))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = CrossKDLoss()(each(s, half), low, batch)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(full, rel=2e-2)
