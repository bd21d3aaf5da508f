"""RDR-KD: masks, weights and sums worked by hand, and what they must not depend on."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from aerialkd.errors import BoxTypeError, ConfigError, RecordError, ShapeError
from aerialkd.losses import DecoupledLoss, RegeneratedLoss, ResponsiveLoss
from tests.contexts import NONE, many_boxes
from tests.contexts import with_boxes as context


def regenerated(channels=3, levels=1, **options):
    options.setdefault('hidden_ratio', 1.0)
    return RegeneratedLoss(channels, levels, **options)


def spotted(value=5.0):
    """A map of 4x4, active in row 1, column 2, of two of its three channels."""
    feat = torch.zeros(1, 3, 4, 4)
    feat[0, :2, 1, 2] = value
    return feat


class TestRegenerated:
    def test_key_cells_and_channels_are_removed(self):
        keep_cells, keep_channels, spatial = regenerated().keep(
            spotted(), context(NONE)
        )
        assert keep_cells[0].int().tolist() == [
            [1, 1, 1, 1],
            [1, 1, 0, 1],
            [1, 1, 1, 1],
            [1, 1, 1, 1],
        ]
        # Channels 0 and 1 carry the activity.
        assert keep_channels.tolist() == [[False, False, True]]
        # exp(10/3 / .5) against 15 cells of exp(0), times 16
        hot = np.exp(10 / 3 / 0.5)
        assert spatial[0, 1, 2].item() == pytest.approx(16 * hot / (hot + 15), rel=1e-5)

    def test_cells_of_small_objects_are_removed_too(self):
        # 16 x 16 = 256 < 500 covers cells 0 to 2 (ceil of 2, inclusive); 24 x 24 = 576
        # does not count.
        boxes = [[0.0, 0, 16, 16], [8.0, 8, 32, 32]]
        keep_cells, _, _ = regenerated().keep(torch.ones(1, 3, 4, 4), context(boxes))
        assert keep_cells[0].int().tolist() == [
            [0, 0, 0, 1],
            [0, 0, 0, 1],
            [0, 0, 0, 1],
            [1, 1, 1, 1],
        ]
        loss = regenerated(tau_area=600.0)
        assert not loss.keep(torch.ones(1, 3, 4, 4), context(boxes))[0][0, 3, 3]

    def test_thresholds_move_the_masks(self):
        batch = context(NONE)
        keep, channels, _ = regenerated(tau_s=20.0, tau_c=4.0).keep(spotted(), batch)
        assert keep.all()
        assert channels.all()
        keep, channels, _ = regenerated(tau_s=0.0, tau_c=0.0).keep(spotted(), batch)
        assert not keep.any()
        assert not channels.any()

    def test_adds_up_both_branches(self):
        """With identities as blocks the sum can be worked by hand."""
        loss = regenerated(loss_weight=1.0)
        for block in (*loss.spatial_blocks, *loss.channel_blocks):
            for conv in (block.mask_conv, block.regenerate_conv):
                torch.nn.init.dirac_(conv.weight)
                torch.nn.init.zeros_(conv.bias)
        s, t = torch.ones(1, 3, 4, 4), spotted()
        # Spatial branch: ones but in cell (1, 2). Channel branch: channel 2 alone.
        #   channels 0, 1: new = 1 outside the cell, t = 0: 15 each
        #                  new = 0, t = 5 in the cell: 25 each
        #   channel 2:     new = 2 outside: 4 * 15; new = 1 in the cell, t = 0: 1
        assert loss(s, t, context(NONE)).item() == pytest.approx(2 * 40 + 61)

    def test_the_sum_stays_a_sum(self):
        loss = regenerated(levels=2)
        s, t = [torch.randn(2, 3, n, n) for n in (8, 4)], spotted()
        t = [torch.randn(2, 3, n, n) for n in (8, 4)]
        total = loss(s, t, context(NONE, many_boxes(3)))
        by_hand = 0
        for level, (s_l, t_l) in enumerate(zip(s, t, strict=True)):
            cells, channels, _ = loss.keep(t_l, context(NONE, many_boxes(0)))
            new = loss.spatial_blocks[level](s_l * cells[:, None])
            new = new + loss.channel_blocks[level](s_l * channels[..., None, None])
            by_hand += (t_l - new).square().sum().item() / 2 * 1e-5
        no_boxes = loss(s, t, context(NONE, NONE)).item()
        assert no_boxes == pytest.approx(by_hand, rel=1e-5)
        assert total.item() != pytest.approx(no_boxes, rel=1e-5)

    @pytest.mark.parametrize('kernel', [1, 3])
    def test_gradient_reaches_student_and_blocks_but_not_the_teacher(self, kernel):
        loss = regenerated(channel_kernel=kernel).double()
        t = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
        s = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
        batch = context([[0.0, 0, 9, 9]])
        assert gradcheck(lambda s: loss(s, t, batch), (s,))
        loss(s, t, batch).backward()
        assert t.grad is None
        assert all(p.grad.abs().sum() > 0 for p in loss.parameters())

    def test_channels_of_the_levels_may_differ(self):
        loss = RegeneratedLoss([2, 4])
        maps = [torch.randn(1, 2, 8, 8), torch.randn(1, 4, 4, 4)]
        assert loss(maps, maps, context(NONE)).isfinite()

    def test_width_of_the_blocks(self):
        loss = RegeneratedLoss([2, 4], hidden_ratio=0.75)
        for blocks in (loss.spatial_blocks, loss.channel_blocks):
            assert [b.mask_conv.out_channels for b in blocks] == [2, 3]
            assert [b.regenerate_conv.out_channels for b in blocks] == [2, 4]
        # What the limit on the cost of a step rests on.
        (block,) = RegeneratedLoss(256, 1).spatial_blocks
        assert block.mask_conv.out_channels == 128

    def test_mistakes_are_named(self):
        with pytest.raises(ShapeError, match='built for 1 levels, got 2'):
            regenerated()([spotted()] * 2, [spotted()] * 2, context(NONE))
        with pytest.raises(ShapeError, match='PyramidAligner'):
            regenerated()(spotted()[:, :2], spotted(), context(NONE))
        with pytest.raises(ConfigError, match='state num_levels'):
            RegeneratedLoss(256)
        with pytest.raises(ConfigError, match='hidden_ratio: got 0'):
            regenerated(hidden_ratio=0)


class TestDecoupled:
    def test_weights_worked_by_hand(self):
        # An image of 32 x 32 on 4 x 4 cells. Box of 8 x 8 (1/16 of the image): cells 0
        # and 1 in both directions, 4 cells. Box of 8 x 16: 2 x 3 cells.
        batch = context([[0.0, 0, 8, 8], [16.0, 16, 23, 31]])
        foreground, background = DecoupledLoss().weights((4, 4), batch)
        small, large = np.exp(-64 / 1024 / 20), np.exp(-105 / 1024 / 20)
        w_small = small / (small + large) / 4
        w_large = large / (small + large) / 4
        expected = np.zeros((4, 4))
        expected[:2, :2] = w_small
        expected[2:, 2:] = w_large
        np.testing.assert_allclose(foreground[0], expected, rtol=1e-5)
        assert foreground.sum().item() == pytest.approx(1)
        np.testing.assert_allclose(background[0], (expected == 0) / 8)

    @pytest.mark.parametrize('unit', ['relative', 'cell', 'pixel'])
    @pytest.mark.parametrize('rotated', [False, True])
    def test_weights_of_an_image_sum_to_one(self, unit, rotated):
        # Apart from each other, so that none takes another's cells.
        rows = [[8.0, 8, 6, 4, 0.3], [40.0, 12, 20, 9, -0.8], [20.0, 44, 9, 22, 1.2]]
        if not rotated:
            rows = [
                [x - w / 2, y - h / 2, x + w / 2, y + h / 2] for x, y, w, h, _ in rows
            ]
        batch = context(rows, rows[:1], input_shape=(64, 64))
        loss = DecoupledLoss(area_unit=unit)
        foreground, background = loss.weights((8, 8), batch)
        assert foreground.sum((1, 2)).tolist() == pytest.approx([1, 1])
        assert background.sum((1, 2)).tolist() == pytest.approx([1, 1])
        assert (foreground * background).abs().max() == 0

    def test_overlap_takes_the_smaller_object(self):
        large, small = [0.0, 0, 31, 31], [8.0, 8, 15, 15]
        for boxes in ([large, small], [small, large]):
            foreground, _ = DecoupledLoss().weights((4, 4), context(boxes))
            alone, _ = DecoupledLoss().weights((4, 4), context([small]))
            # About half the weight of an image, as there are two objects.
            np.testing.assert_allclose(
                foreground[0, 1:3, 1:3], alone[0, 1:3, 1:3] / 2, rtol=0.05
            )
            assert foreground[0, 0, 0] < foreground[0, 1, 1] / 3

    def test_loss_worked_by_hand(self):
        # One object in 4 of 16 cells; differences 2 there and 1 elsewhere, 3 channels.
        s, t = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
        s[..., :2, :2] = 2
        batch = context([[0.0, 0, 8, 8]])
        options = dict(alpha=0.5, beta=0.25, loss_weight=1.0)
        loss = DecoupledLoss(**options)(s, t, batch)
        assert loss.item() == pytest.approx(0.5 * 3 * 4 + 0.25 * 3 * 1)
        literal = DecoupledLoss(background='sum', **options)(s, t, batch)
        assert literal.item() == pytest.approx(0.5 * 3 * 4 + 0.25 * 3 * 12)

    def test_an_image_without_boxes_is_background(self):
        s, t = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
        loss = DecoupledLoss(loss_weight=1.0)(s, t, context(NONE))
        assert loss.item() == pytest.approx(0.5 * 3)

    def test_an_image_full_of_objects_has_no_background(self):
        s, t = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
        loss = DecoupledLoss(loss_weight=1.0)(s, t, context([[0.0, 0, 32, 32]]))
        assert loss.item() == pytest.approx(0.5 * 3)

    def test_objects_outside_take_no_share(self):
        inside, outside = [0.0, 0, 8, 8], [40.0, 40, 44, 44]
        weights = DecoupledLoss().weights((4, 4), context([inside, outside], [outside]))
        alone = DecoupledLoss().weights((4, 4), context([inside], NONE))
        for got, expected in zip(weights, alone, strict=True):
            torch.testing.assert_close(got, expected)

    def test_a_box_of_a_pixel_is_seen_on_every_level(self):
        batch = context([[17.0, 9, 18, 10]], input_shape=(64, 64))
        for size in (8, 4, 1):
            foreground, _ = DecoupledLoss().weights((size, size), batch)
            assert foreground.sum().item() == pytest.approx(1)

    def test_gradient(self):
        s, t = torch.randn(2, 2, 2, 3, 3, dtype=torch.float64)
        batch = context([[0.0, 0, 9, 9]], NONE)
        assert gradcheck(
            lambda s: DecoupledLoss()(s, t, batch), (s.clone().requires_grad_(),)
        )

    def test_settings_are_checked(self):
        with pytest.raises(ConfigError, match="'m2', expected one of 'relative'"):
            DecoupledLoss(area_unit='m2')
        with pytest.raises(ConfigError, match="background: got 'none'"):
            DecoupledLoss(background='none')


@pytest.mark.parametrize('rotated', [False, True])
@pytest.mark.parametrize(
    'make', [regenerated, DecoupledLoss], ids=['mask', 'decoupled']
)
class TestBoth:
    """What holds for both losses of feature maps."""

    def maps(self, num, *sizes):
        return tuple(torch.randn(num, 3, *size) for size in sizes)

    def test_batch_is_the_mean_of_its_images(self, make, rotated):
        loss = make()
        (s,), (t,) = self.maps(3, (8, 8)), self.maps(3, (8, 8))
        boxes = [many_boxes(n, rotated=rotated) for n in (5, 1, 9)]
        whole = loss(s, t, context(*boxes, input_shape=(64, 64)))
        single = [
            loss(s[i : i + 1], t[i : i + 1], context(b, input_shape=(64, 64))).item()
            for i, b in enumerate(boxes)
        ]
        assert whole.item() == pytest.approx(np.mean(single), rel=1e-4)

    def test_padding_changes_nothing(self, make, rotated):
        loss = make()
        boxes = many_boxes(6, 32.0, rotated)
        (s,), (t,) = self.maps(1, (4, 4)), self.maps(1, (4, 4))
        alone = loss(s, t, context(boxes))
        padded = [torch.nn.functional.pad(x, (0, 4, 0, 2)) for x in (s, t)]
        padded[0][..., 4:] = 9.0  # whatever the network makes of padding
        batch = context(boxes, input_shape=(48, 64), img_shapes=[(32, 32)])
        assert loss(*padded, batch).item() == pytest.approx(alone.item(), rel=1e-5)

    def test_images_without_boxes_and_600_boxes(self, make, rotated):
        loss = make()
        columns = 5 if rotated else 4
        boxes = [torch.zeros(0, columns), many_boxes(600, rotated=rotated)]
        (s,), (t,) = self.maps(2, (8, 8)), self.maps(2, (8, 8))
        s.requires_grad_()
        loss(s, t, context(*boxes, input_shape=(64, 64))).backward()
        assert s.grad.isfinite().all()
        assert all(s.grad[i].abs().sum() > 0 for i in (0, 1))

    def test_autocast_agrees_with_full_precision(self, make, rotated):
        loss = make()
        s, t = self.maps(2, (16, 16)), self.maps(2, (16, 16))
        batch = context(
            *[many_boxes(4, rotated=rotated) for _ in s + t], input_shape=(64, 64)
        )
        with torch.autocast('cpu', dtype=torch.bfloat16):
            half = loss([x.bfloat16() for x in s], [x.bfloat16() for x in t], batch)
        assert half.item() == pytest.approx(loss(s, t, batch).item(), rel=1e-2)

    def test_teacher_gets_no_gradient(self, make, rotated):
        s, t = torch.randn(2, 1, 3, 8, 8).unbind()
        s, t = s.requires_grad_(), t.requires_grad_()
        boxes = many_boxes(2, rotated=rotated)
        make()(s, t, context(boxes, input_shape=(64, 64))).backward()
        assert s.grad is not None
        assert t.grad is None

    def test_masks_are_for_every_level(self, make, rotated):
        loss = make(levels=2) if make is regenerated else make()
        maps = self.maps(1, (8, 8), (4, 4))
        batch = context(many_boxes(2, rotated=rotated), input_shape=(64, 64))
        for levels in loss.masks(maps, batch).values():
            assert [tuple(level.shape) for level in levels] == [(1, 8, 8), (1, 4, 4)]
        assert (
            loss.spatial_maps(maps, maps, batch).keys()
            == loss.masks(maps, batch).keys()
        )


class Head:
    """A dense head of one prior a cell whose predictions are the boxes themselves."""

    class Generator:
        strides = ((8, 8),)

        def grid_priors(self, sizes, device):
            return [torch.zeros(height * width, 2) for height, width in sizes]

    prior_generator = Generator()

    def __init__(self, classes=2, sigmoid=True):
        self.cls_out_channels, self.use_sigmoid_cls = classes, sigmoid

    def decode(self, preds, priors, strides):
        return preds


def outputs(logits, boxes):
    """Head outputs of one level of one row of cells, from (L, K) and (L, D)."""
    return tuple((x.T[None, :, None, :],) for x in (logits, boxes))


class TestResponsive:
    BOXES = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, 1, 1]])
    OTHER = torch.tensor([[0.0, 0, 2, 1], [3.0, 0, 4, 1]])

    def batch(self, head=None, **options):
        head = head or Head()
        return context(NONE, heads=(head, head), **options)

    def test_worked_by_hand(self):
        # Only one class of one prior differs: 1/2 against 3/4.
        logits_T = torch.zeros(2, 2)
        logits_T[1, 0] = np.log(3)
        s, t = outputs(torch.zeros(2, 2), self.BOXES), outputs(logits_T, self.OTHER)
        boxes = (1 / 2 + 1 / 32 + 1 / 4) + (1 + 9 / 17)
        loss = ResponsiveLoss(loss_weight=1.0)
        assert loss(s, t, self.batch()).item() == pytest.approx(np.log(2) / 16 + boxes)
        # Disparity: 0 for the first prior, 1/4 for the second.
        loss = ResponsiveLoss(gamma=1.0, loc_weight='disparity', loss_weight=1.0)
        expected = np.log(2) / 4 + (1 + 9 / 17) / 4
        assert loss(s, t, self.batch()).item() == pytest.approx(expected)

    def test_zero_for_equal_outputs(self):
        s = outputs(torch.randn(2, 2), self.BOXES)
        assert ResponsiveLoss()(s, s, self.batch()).item() == 0

    @pytest.mark.parametrize('loc_weight', [None, 'disparity'])
    def test_gradient(self, loc_weight):
        logits = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
        t = outputs(torch.randn(2, 2), self.OTHER)
        boxes = (self.BOXES.double() + 0.1).requires_grad_()
        loss, batch = ResponsiveLoss(loc_weight=loc_weight), self.batch()
        loss(outputs(logits, boxes), t, batch).backward()
        assert logits.grad.abs().min() > 0
        assert boxes.grad.abs().sum() > 0
        if loc_weight is None:  # the disparity is a weight: not differentiated
            gradcheck(lambda x: loss(outputs(x, boxes), t, batch), (logits,))

    def test_rotated_boxes(self):
        s = torch.tensor([[10.0, 10, 8, 4, 0.3], [20.0, 20, 5, 5, 0.0]])
        t = s.clone()
        loss, batch = ResponsiveLoss(loss_weight=1.0), self.batch()
        logits = torch.zeros(2, 2)
        same = loss(outputs(logits, s), outputs(logits, t), batch)
        assert same.item() == pytest.approx(0, abs=1e-3)
        t[0, 4] += 0.5
        s.requires_grad_()
        turned = loss(outputs(logits, s), outputs(logits, t), batch)
        turned.backward()
        assert turned > 0.05
        assert s.grad[0, 4] < 0  # turns the student towards the teacher
        assert s.grad.isfinite().all()

    def test_thin_rotated_boxes_are_finite(self):
        """Their covariance has no determinant in single precision."""
        s = torch.tensor([[2000.0, 2000, 2000, 0.1, 0.7]] * 2, requires_grad=True)
        t = s.detach() + torch.tensor([3.0, 0, 0, 0, 0.1])
        logits = torch.zeros(2, 2)
        loss = ResponsiveLoss(loss_weight=1.0)
        value = loss(outputs(logits, s), outputs(logits, t), self.batch())
        value.backward()
        assert 0 < value < 2
        assert torch.isfinite(s.grad).all()
        assert s.grad.any()

    def test_priors_in_padding_do_not_count(self):
        logits = torch.zeros(4, 2)
        teacher = torch.full((4, 2), 2.0)
        boxes = self.BOXES.repeat(2, 1)
        s, t = outputs(logits, boxes), outputs(teacher, boxes)
        loss = ResponsiveLoss(loss_weight=1.0)
        whole = loss(s, t, self.batch(input_shape=(8, 32)))
        half = self.batch(input_shape=(8, 32), img_shapes=[(8, 16)])
        assert loss(s, t, half).item() == pytest.approx(whole.item() / 2)

    def test_half_precision_agrees_and_teacher_gets_no_gradient(self):
        s, t = torch.randn(2, 40, 6)
        boxes = (10 + 5 * torch.rand(2, 40, 4)) * torch.tensor([0.5, 0.5, 2, 2])
        loss, batch = ResponsiveLoss(loss_weight=1.0), self.batch(Head(6))
        full = loss(outputs(s, boxes[0]), outputs(t, boxes[1]), batch)
        half = [x.bfloat16().requires_grad_() for x in (s, t, *boxes)]
        with torch.autocast('cpu', dtype=torch.bfloat16):
            low = loss(outputs(half[0], half[2]), outputs(half[1], half[3]), batch)
        assert low.item() == pytest.approx(full.item(), rel=1e-2)
        low.backward()
        assert half[0].grad is not None
        assert half[2].grad is not None
        assert half[1].grad is None
        assert half[3].grad is None

    def test_batch_is_the_mean_of_its_images(self):
        s, t = torch.randn(2, 3, 2, 2, 4)
        boxes = torch.cat([torch.rand(2, 3, 2, 2, 4), 2 + torch.rand(2, 3, 2, 2, 4)])
        boxes[..., 2:] += 3
        head, loss = Head(4), ResponsiveLoss(loss_weight=1.0)

        def value(images):
            s_i, t_i = (
                ((x[images].permute(0, 3, 1, 2),), (b[images].permute(0, 3, 1, 2),))
                for x, b in ((s, boxes[0]), (t, boxes[1]))
            )
            return loss(s_i, t_i, context(*[NONE] * len(images), heads=(head, head)))

        single = [value([i]).item() for i in range(3)]
        assert value([0, 1, 2]).item() == pytest.approx(np.mean(single), rel=1e-5)

    def test_shows_the_share_of_each_cell(self):
        t = torch.zeros(4, 2)
        t[2] = 3.0
        boxes = self.BOXES.repeat(2, 1)
        s, t = outputs(torch.zeros(4, 2), boxes), outputs(t, boxes)
        loss = ResponsiveLoss(loss_weight=1.0)
        batch = self.batch(input_shape=(8, 32))
        maps = loss.spatial_maps(s, t, batch)
        assert [m.shape for m in maps['class loss']] == [(1, 1, 4)]
        assert maps['class loss'][0].argmax() == 2
        total = sum(m.sum() for levels in maps.values() for m in levels)
        assert total.item() == pytest.approx(loss(s, t, batch).item())
        assert loss.spatial_maps(s, t) == {}

    def test_mistakes_are_named(self):
        s = outputs(torch.zeros(2, 2), self.BOXES)
        with pytest.raises(ConfigError, match='use_sigmoid=True'):
            ResponsiveLoss()(s, s, self.batch(Head(sigmoid=False)))
        other = outputs(torch.zeros(3, 2), torch.zeros(3, 4))
        with pytest.raises(ShapeError, match='class scores'):
            ResponsiveLoss()(s, other, self.batch())
        with pytest.raises(RecordError, match="no 'bbox_head'"):
            ResponsiveLoss()(s, s, context(NONE))
        with pytest.raises(ConfigError, match="loc_weight: got 'iou'"):
            ResponsiveLoss(loc_weight='iou')


def test_boxes_of_both_types_are_not_mixed():
    with pytest.raises(BoxTypeError):
        context(NONE.new_zeros(1, 4), NONE.new_zeros(1, 5))
