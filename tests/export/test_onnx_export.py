import importlib.util
import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample

from aerialkd.errors import CheckpointError, ConfigError, EnvironmentProblem
from aerialkd.export import onnx_export
from aerialkd.export.onnx_export import OnnxOptions, RawHead, export_onnx
from aerialkd.export.student import export_student
from tests.builders import dist_rotated_retinanet, fcos, retinanet, yolov8
from tests.exports import CLASSES, PIPELINE, build, config, gfl, rotated_retinanet, save

onnx = pytest.importorskip('onnx', reason='onnx is not installed: .[onnx]')
ort = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed: .[onnx]')
pytestmark = pytest.mark.filterwarnings(
    'ignore:DeprecationWarning. `num_anchors`:UserWarning'
)
SMALL = OnnxOptions(size=(64, 96))


def run(path, images):
    session = ort.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    results = session.run(None, {'images': images.numpy()})
    return dict(zip(names, map(torch.from_numpy, results), strict=True))


@pytest.mark.parametrize(
    ('model', 'kinds'),
    [
        (retinanet, ['cls_score', 'bbox_pred']),
        (gfl, ['cls_score', 'bbox_pred']),
        (fcos, ['cls_score', 'bbox_pred', 'centerness']),
        (rotated_retinanet, ['cls_score', 'bbox_pred']),
        (dist_rotated_retinanet, ['cls_score', 'bbox_pred']),
        (yolov8, ['cls_score', 'bbox_pred']),
    ],
)
def test_standard_operators_and_the_same_values(tmp_path, model, kinds):
    detector, path = build(model()), tmp_path / 'student.onnx'
    assert export_onnx(detector, path, SMALL) <= 1e-4
    graph = onnx.load(path)
    assert {node.domain for node in graph.graph.node} == {''}
    assert [(o.domain, o.version) for o in graph.opset_import] == [('', 17)]
    assert len(graph.functions) == 0

    # Sizes and batches other than those of the trace, and not multiples of 32 either.
    for shape in ((1, 3, 96, 32), (2, 3, 160, 224), (3, 3, 75, 101)):
        images = torch.randn(shape)
        with torch.no_grad():
            groups = detector.bbox_head(detector.extract_feat(images))
        found = run(path, images)
        assert list(found) == [
            f'{kind}_{level}' for kind in kinds for level in range(len(groups[0]))
        ]
        maps = [level for group in groups for level in group]
        for got, expected in zip(found.values(), maps, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_card_is_enough_to_decode_the_best_box(tmp_path):
    """Of RetinaNet, with NumPy alone, against mmdet's own prediction."""
    detector = build(retinanet())
    export_onnx(detector, tmp_path / 'student.onnx', SMALL, CLASSES, PIPELINE)
    card = json.loads((tmp_path / 'student.onnx.json').read_text())
    pixels = torch.randint(0, 256, (3, 53, 90), dtype=torch.uint8)  # BGR

    pre = card['preprocessing']
    assert pre['channel_order'] == 'RGB'
    image = pixels.flip(0).float().numpy()
    image = (image - np.reshape(pre['mean'], (3, 1, 1))) / np.reshape(
        pre['std'], (3, 1, 1)
    )
    bottom, right = (-size % pre['pad_size_divisor'] for size in image.shape[1:])
    image = np.pad(image, [(0, 0), (0, bottom), (0, right)])
    outputs = run(tmp_path / 'student.onnx', torch.from_numpy(image).float()[None])

    best = (-1.0, None, None)
    per_prior, coder = (
        card['decoding']['channels_per_prior'],
        card['decoding']['bbox_coder'],
    )
    assert (coder['means'], coder['stds']) == ([0.0] * 4, [1.0] * 4)
    for level in card['levels']:
        scores = outputs[f'cls_score_{level["level"]}'][0].sigmoid()
        channel, row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        prior, label = divmod(int(channel), per_prior)
        shift = np.array([column, row] * 2) * (level['stride_xy'] * 2)
        x1, y1, x2, y2 = np.array(level['base_anchors'][prior]) + shift
        deltas = outputs[f'bbox_pred_{level["level"]}'][0]
        dx, dy, dw, dh = deltas[prior * 4 : prior * 4 + 4, row, column].numpy()
        width, height = (x2 - x1) * np.exp(dw), (y2 - y1) * np.exp(dh)
        x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
        box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        best = max(best, (float(scores.max()), label, box), key=lambda item: item[0])

    shape = tuple(pixels.shape[1:])
    sample = DetDataSample(
        metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    )
    found = detector.test_step(dict(inputs=[pixels], data_samples=[sample]))[0]
    first = found.pred_instances[0]
    assert best[0] == pytest.approx(float(first.scores), abs=1e-5)
    assert best[1] == int(first.labels)
    box = np.clip(best[2], 0, [shape[1], shape[0]] * 2)
    np.testing.assert_allclose(box, first.bboxes[0].numpy(), atol=1e-3)
    assert card['classes'] == list(CLASSES)
    assert card['decoding']['test_cfg']['max_per_img'] == 20


def test_card_is_enough_to_decode_yolov8(tmp_path):
    """The best box, with NumPy alone: letterbox, points, bins, strides."""
    detector = build(yolov8())
    export_onnx(detector, tmp_path / 'student.onnx', SMALL, CLASSES, PIPELINE)
    card = json.loads((tmp_path / 'student.onnx.json').read_text())
    pixels = torch.randint(0, 256, (3, 53, 90), dtype=torch.uint8)  # BGR
    pre, decoding = card['preprocessing'], card['decoding']
    assert (pre['channel_order'], pre['std']) == ('RGB', [255.0] * 3)
    image = pixels.flip(0).float().numpy() / 255
    bottom, right = (-size % pre['pad_size_divisor'] for size in image.shape[1:])
    pad = [(0, 0), (0, bottom), (0, right)]
    image = np.pad(image, pad, constant_values=pre['pad_value'])
    outputs = run(tmp_path / 'student.onnx', torch.from_numpy(image).float()[None])

    assert (decoding['reg_max'], decoding['bins']) == (16, 16)
    assert decoding['bin_values'] == detector.bbox_head.projection.tolist()
    assert decoding['score'] == 'sigmoid'
    best = (-1.0, None, None)
    for level in card['levels']:
        scores = outputs[f'cls_score_{level["level"]}'][0].sigmoid()
        label, row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        dists = outputs[f'bbox_pred_{level["level"]}'][0, :, row, column].numpy()
        odds = np.exp(dists.reshape(4, decoding['bins']))
        bins = np.array(decoding['bin_values'])
        left, top, right, bottom = odds @ bins / odds.sum(1) * level['stride_xy'][0]
        x, y = (np.array([column, row]) + level['offset']) * level['stride_xy']
        box = [x - left, y - top, x + right, y + bottom]
        best = max(best, (float(scores.max()), label, box), key=lambda item: item[0])

    shape = tuple(pixels.shape[1:])
    meta = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    sample = DetDataSample(metainfo=meta)
    found = detector.test_step(dict(inputs=[pixels], data_samples=[sample]))[0]
    first = found.pred_instances[0]
    assert best[0] == pytest.approx(float(first.scores), abs=1e-5)
    assert best[1] == int(first.labels)
    box = np.clip(best[2], 0, [shape[1], shape[0]] * 2)
    np.testing.assert_allclose(box, first.bboxes[0].numpy(), atol=1e-3)


def test_card_of_gfl_and_fcos(tmp_path):
    export_onnx(build(gfl()), tmp_path / 'gfl.onnx', SMALL)
    card = json.loads((tmp_path / 'gfl.onnx.json').read_text())
    assert (card['decoding']['reg_max'], card['decoding']['bins']) == (8, 9)
    assert len(card['decoding']['bin_values']) == 9
    assert card['decoding']['bbox_coder']['type'] == 'DistancePointBBoxCoder'
    assert card['outputs'][4] == dict(
        name='bbox_pred_0', shape=['batch', 36, 'rows', 'columns']
    )
    export_onnx(build(fcos()), tmp_path / 'fcos.onnx', SMALL)
    card = json.loads((tmp_path / 'fcos.onnx.json').read_text())
    assert card['levels'][1]['stride_xy'] == [16, 16]
    assert card['levels'][1]['offset'] == 0.5
    assert card['decoding']['bins'] is None
    assert card['decoding']['bin_values'] is None


def test_card_of_distributions_of_deltas(tmp_path):
    export_onnx(build(dist_rotated_retinanet()), tmp_path / 'rotated.onnx', SMALL)
    card = json.loads((tmp_path / 'rotated.onnx.json').read_text())
    assert card['head'] == 'DistributionRotatedRetinaHead'
    assert card['decoding']['bins'] == 9
    assert card['decoding']['bin_values'] == np.linspace(-2, 2, 9).tolist()
    assert card['decoding']['bbox_coder']['type'] == 'DeltaXYWHTRBBoxCoder'
    assert card['outputs'][4]['shape'][1] == 6 * 5 * 9


def test_with_the_student(tmp_path):
    path = save(build(retinanet()), tmp_path / 'input.pth')
    result = export_student(
        config(retinanet()), path, tmp_path / 'student.pth', onnx=SMALL
    )
    assert [p.suffix for p in result.files[3:]] == ['.onnx', '.json']
    assert all(path.is_file() for path in result.files)
    assert 'difference to onnxruntime' in str(result)
    card = json.loads((tmp_path / 'student.onnx.json').read_text())
    assert card['classes'] == list(CLASSES)
    assert len(card['preprocessing']['pipeline']) == 3


def test_mode_and_weights_are_left_alone(tmp_path):
    detector = build(retinanet()).train()
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    modes = [module.training for module in detector.modules()]
    export_onnx(detector, tmp_path / 'student.onnx', SMALL)
    assert True in modes
    assert [module.training for module in detector.modules()] == modes
    assert all(torch.equal(before[key], v) for key, v in detector.state_dict().items())


def test_frozen_shape_is_found(tmp_path, monkeypatch):
    """A shape that tracing turned into a constant shows at other sizes."""
    forward = RawHead.forward

    def crop(self, images):
        height = int(images.shape[2])  # a Python number: constant in the graph
        return forward(self, images[:, :, :height])

    monkeypatch.setattr(RawHead, 'forward', crop)
    with pytest.raises(CheckpointError, match='onnxruntime c'):
        export_onnx(build(retinanet()), tmp_path / 'student.onnx', SMALL)
    assert list(tmp_path.iterdir()) == []


def test_custom_operator_is_refused(tmp_path, monkeypatch):
    """Wherever it is, also in a branch of a condition."""
    make = onnx.helper
    custom = make.make_node('MMCVDeformConv2d', ['x'], ['y'], domain='mmcv')
    branch = make.make_graph([custom], 'branch', [], [])
    node = make.make_node('If', ['x'], ['y'], then_branch=branch, else_branch=branch)
    model = make.make_model(make.make_graph([node], 'whole', [], []))
    monkeypatch.setattr(
        onnx_export, '_trace', lambda m, file, *_: onnx.save(model, file)
    )
    with pytest.raises(ConfigError, match=r'mmcv\.MMCVDeformConv2d'):
        export_onnx(build(retinanet()), tmp_path / 'student.onnx', SMALL)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(tmp_path):
    detector = build(retinanet())
    with pytest.raises(ConfigError, match='opset 3'):
        export_onnx(detector, tmp_path / 'a.onnx', OnnxOptions((64, 64), opset=3))
    with pytest.raises(ConfigError, match='Sequential cannot be exported'):
        export_onnx(torch.nn.Sequential(detector), tmp_path / 'a.onnx')
    assert list(tmp_path.iterdir()) == []


def test_missing_packages(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if 'onnx' in name else find(name)
    )
    with pytest.raises(EnvironmentProblem, match=r'pip install -e \.\[onnx\]'):
        export_student('any.py', 'any.pth', tmp_path / 'student.pth', onnx=SMALL)
