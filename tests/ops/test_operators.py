"""mmcv's operators on each backend: those that the compiled ones gave."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from mmcv import ops
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

from aerialkd.engine.memory import peak_memory, restart_peak_memory
from aerialkd.errors import EnvironmentProblem, ShapeError
from aerialkd.ops import backends
from aerialkd.ops.extension import PLAIN, build
from tests.ops.cases import (
    STORED,
    adversarial,
    cases,
    corners_of,
    put_behind_mmcv,
    scene,
)

pytestmark = pytest.mark.rounding

OPERATORS = sorted({name.partition('/')[0] for name in cases()})
STORED_NUMBERS = np.load(STORED)


@pytest.fixture(params=['cpu', 'cuda'])
def device(request):
    if request.param == 'cuda' and not torch.cuda.is_available():
        pytest.skip('no GPU')
    return request.param


@pytest.fixture(params=['plain', 'torchvision', 'compiled'])
def backend(request, monkeypatch):
    """Each backend, as far as it is there, behind ``mmcv.ops``."""
    if request.param == 'compiled':
        if not backends.is_compiled():
            pytest.skip("mmcv's operators are not compiled")
        return request.param
    operators = dict(PLAIN)
    if request.param == 'torchvision':
        taken = backends.torchvision_operators()
        if not taken:
            pytest.skip('torchvision does not load')
        operators.update(taken)
    put_behind_mmcv(build(operators, 'compile them'), monkeypatch)
    return request.param


@pytest.mark.parametrize('operator', OPERATORS)
def test_same_as_compiled(operator, backend, device):
    for name, call in cases(device).items():
        if name.partition('/')[0] != operator:
            continue
        for index, result in enumerate(call()):
            stored = torch.from_numpy(STORED_NUMBERS[f'{name}#{index}'])
            # The compiled IoU rounds by 4e-5 where boxes are thin; indices are exact.
            torch.testing.assert_close(
                result.detach().cpu(),
                stored,
                rtol=1e-4 if stored.is_floating_point() else 0,
                atol=1e-4 if stored.is_floating_point() else 0,
                equal_nan=True,
                msg=lambda text, name=name: f'{name}: {text}',
            )


def test_stored_cases_decide_something():
    lengths = {
        name: len(STORED_NUMBERS[f'{name}#1'])
        for name in cases()
        if name.startswith('nms')
    }
    assert lengths['nms/crowd/0.1/0'] < lengths['nms/crowd/0.5/0'] < 300
    assert lengths['nms/odd/0.5/0'] != lengths['nms/odd/0.5/1']
    # Equal scores stand in the crowd, so that the order of equal ones is tested.
    assert len(scene(300, 12, 0)[1].unique()) < 50


class TestSuppression:
    def test_nothing(self, backend, device):
        none = torch.zeros(0, 4, device=device)
        boxes, kept = ops.nms(none, none[:, 0], 0.5)
        assert (boxes.shape, kept.tolist()) == ((0, 5), [])
        assert kept.dtype == torch.long

    def test_classes_do_not_suppress_each_other(self, device, monkeypatch):
        # The compiled operator heeds labels on a GPU only.
        put_behind_mmcv(build(PLAIN, ''), monkeypatch)
        boxes = torch.tensor([[50.0, 50, 20, 10, 0.3]] * 3, device=device)
        scores = torch.tensor([0.5, 0.9, 0.7], device=device)
        labels = torch.tensor([0, 1, 0], device=device)
        assert ops.nms_rotated(boxes, scores, 0.5)[1].tolist() == [1]
        assert ops.nms_rotated(boxes, scores, 0.5, labels)[1].tolist() == [1, 2]

    def test_quadrilaterals_that_are_rectangles(self, backend, device):
        boxes, scores = (tensor.to(device) for tensor in scene(120, 10, 5))
        kept = ops.nms_rotated(boxes, scores, 0.3)[1]
        quads = corners_of(boxes.cpu()).to(device)
        assert torch.equal(ops.nms_quadri(quads, scores, 0.3)[1], kept)

    @pytest.mark.parametrize('labels', [None, torch.tensor([0.0, 1, 0])])
    def test_quadrilaterals_that_are_not(self, labels, device, monkeypatch):
        put_behind_mmcv(build(PLAIN, ''), monkeypatch)
        # Two triangles, as quadrilaterals, that share a side of a square, and a copy.
        lower, upper = [0.0, 0, 8, 0, 8, 8, 4, 4], [0.0, 0, 4, 4, 8, 8, 0, 8]
        boxes = torch.tensor([lower, upper, lower], device=device)
        scores = torch.tensor([0.9, 0.8, 0.7], device=device)
        if labels is not None:
            labels = labels.to(device)
        kept = ops.nms_quadri(boxes, scores, 0.5, labels)[1]
        assert kept.tolist() == [0, 1]

    @pytest.mark.parametrize('overlap', [0.2, 0.9])
    def test_long_chain(self, overlap, device):
        # Each box suppresses the next, which would have suppressed the one behind it.
        left = torch.arange(1500, device=device) * 10 * (1 - overlap)
        boxes = torch.stack([left, left * 0, left + 10, left * 0 + 10], 1)
        scores = torch.linspace(1, 0, len(boxes), device=device)
        # IoUs with the next ones: 1 / 9; 9 / 11, 8 / 12, ..., 4 / 16, 3 / 17.
        step = 2 if overlap == 0.2 else 7
        kept = PLAIN['nms'](boxes, scores, 0.1 if overlap == 0.2 else 0.24)
        assert kept.tolist() == list(range(0, 1500, step))

    def test_greedy_by_definition(self, seed):
        boxes, scores = scene(500, 40, seed)
        ious = PLAIN['box_iou_rotated'](boxes, boxes)
        kept: list[int] = []
        for index in scores.sort(descending=True)[1].tolist():
            if all(ious[other, index] < 0.3 for other in kept):
                kept.append(index)
        assert PLAIN['nms_rotated'](boxes, scores, 0.3).tolist() == kept


class TestRoIAlign:
    def test_region_of_negative_size(self, monkeypatch):
        put_behind_mmcv(build(PLAIN, ''), monkeypatch)
        rois = torch.tensor([[0.0, 5, 5, 4, 9]])
        with pytest.raises(ShapeError, match='negative size'):
            ops.roi_align(torch.rand(1, 1, 9, 9), rois, (2, 2))

    def test_maximum_says_that_it_has_to_be_compiled(self, monkeypatch):
        put_behind_mmcv(build(PLAIN, ''), monkeypatch)
        pool = ops.RoIAlign((2, 2), pool_mode='max')
        with pytest.raises(EnvironmentProblem, match="pool_mode='avg'"):
            pool(torch.rand(1, 1, 9, 9), torch.tensor([[0.0, 1, 1, 4, 4]]))

    def test_no_regions(self, backend, device):
        features = torch.rand(1, 3, 9, 9, device=device, requires_grad=True)
        pooled = ops.roi_align(features, torch.zeros(0, 5, device=device), (2, 2))
        assert pooled.shape == (0, 3, 2, 2)
        pooled.sum().backward()
        assert not features.grad.any()

    def test_chunks(self, monkeypatch):
        rois = torch.tensor([[0.0, 1, 1, 60, 50], [0, 5, 5, 30, 20], [0, 9, 2, 70, 60]])
        features = torch.rand(1, 4, 16, 16)
        at_once = PLAIN['roi_align'](features, rois, (3, 3), 0.25)
        monkeypatch.setattr('aerialkd.ops.sampling._CHUNK', 40)
        torch.testing.assert_close(
            PLAIN['roi_align'](features, rois, (3, 3), 0.25), at_once
        )


class TestGradients:
    def test_deformable_convolution(self):
        rng = torch.Generator().manual_seed(0)
        features, offset, weight, mask = (
            torch.rand(*shape, generator=rng, dtype=torch.float64).requires_grad_()
            for shape in ((1, 2, 5, 4), (1, 16, 4, 3), (2, 1, 2, 2), (1, 8, 4, 3))
        )

        def convolve(*inputs):
            return PLAIN['deform_conv2d'](*inputs, groups=2, deform_groups=2)

        assert torch.autograd.gradcheck(convolve, (features, offset, weight, mask))

    def test_half_precision(self, device, monkeypatch):
        put_behind_mmcv(build(PLAIN, ''), monkeypatch)
        single = [
            torch.rand(*shape, device=device, requires_grad=True)
            for shape in ((1, 2, 6, 6), (1, 18, 4, 4), (3, 2, 3, 3))
        ]
        # Samples between the same pixels in both precisions.
        single[1].data.mul_(0.8).add_(0.1)
        half = [x.detach().half().requires_grad_() for x in single]
        results = []
        for inputs in (single, half):
            ops.deform_conv2d(*inputs).sum().backward()
            results.append([x.grad.float() for x in inputs])
        for expected, got in zip(*results, strict=True):
            torch.testing.assert_close(got, expected, rtol=2e-2, atol=2e-2)


class TestFocalLoss:
    @pytest.fixture
    def inputs(self, device):
        logits = torch.randn(50, 4, device=device) * 4
        target = torch.randint(0, 5, (50,), device=device)  # 4 is the background
        return logits, target

    @pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
    def test_as_mmdets_in_python(self, inputs, gamma, device, monkeypatch):
        put_behind_mmcv(build(PLAIN, ''), monkeypatch)
        logits, target = inputs
        hot = torch.nn.functional.one_hot(target, 5)[:, :4].float()
        results = []
        for function, labels in (
            (ops.sigmoid_focal_loss, target),
            (py_sigmoid_focal_loss, hot),
        ):
            x = logits.clone().requires_grad_()
            if function is ops.sigmoid_focal_loss:
                loss = function(x, labels, gamma, 0.25, None, 'sum')
            else:
                loss = function(x, labels, None, gamma, 0.25, 'sum')
            loss.backward()
            results.append((loss.detach(), x.grad))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)

    def test_finite_for_any_score(self, device, monkeypatch):
        put_behind_mmcv(build(PLAIN, ''), monkeypatch)
        x = torch.tensor([[-500.0, 500.0]] * 2, device=device, requires_grad=True)
        target = torch.tensor([0, 2], device=device)
        loss = ops.sigmoid_focal_loss(x, target, 0.5, 0.25, None, 'none')
        loss.sum().backward()
        assert loss.isfinite().all()
        assert x.grad.isfinite().all()
        assert loss[:, 0].tolist() == [125, 0]  # .25 * 500, right

    def test_weights_of_classes(self, inputs, device, monkeypatch):
        put_behind_mmcv(build(PLAIN, ''), monkeypatch)
        logits, target = inputs
        target = target.clamp(max=3)
        weight = torch.tensor([1.0, 2, 3, 4], device=device)
        plain = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
        weighted = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, 'none')
        torch.testing.assert_close(weighted, plain * weight[target, None])


def test_columns_behind_the_boxes_do_not_matter(monkeypatch):
    put_behind_mmcv(build(PLAIN, ''), monkeypatch)
    boxes = scene(20, 4, 7)[0]
    scored = torch.cat([boxes, torch.rand(20, 1)], 1)
    expected = ops.box_iou_rotated(boxes, boxes)
    assert torch.equal(ops.box_iou_rotated(scored, boxes), expected)


class TestMissing:
    def test_only_the_call_fails_and_says_what_to_do(self, monkeypatch):
        put_behind_mmcv(build(PLAIN, 'make setup OPS=compiled'), monkeypatch)
        features, masks = torch.rand(1, 4, 3, 3), torch.rand(1, 9, 6, 6)
        with pytest.raises(
            EnvironmentProblem, match=r'carafe_forward .* make setup OPS=compiled'
        ):
            ops.carafe(features, masks, 3, 1, 2)

    def test_no_private_names_but_a_spec(self, monkeypatch):
        extension = build(PLAIN, '')
        assert not hasattr(extension, '__path__')
        monkeypatch.setitem(sys.modules, 'mmcv._ext', extension)
        assert importlib.util.find_spec('mmcv._ext') is extension.__spec__


@pytest.mark.parametrize('name', ['nms_rotated', 'box_iou_rotated', 'nms'])
def test_memory_of_2000_boxes_that_all_meet(name):
    # The compiled operators hold the result alone: 16 MB of IoUs.
    boxes = adversarial()[:1].repeat(2000, 1)
    boxes += torch.rand(2000, 5) * torch.tensor([4, 2, 3, 3, 0.5])
    restart_peak_memory()
    before = peak_memory()
    if name == 'box_iou_rotated':
        assert PLAIN[name](boxes, boxes).min() > 0
    else:
        columns = 5 if name == 'nms_rotated' else 4
        flat = boxes.clone()
        flat[:, 2:4] += flat[:, :2]
        inputs = boxes if columns == 5 else flat[:, :4]
        PLAIN[name](inputs, torch.rand(2000), 0.9)
    assert peak_memory() - before < 500e6
