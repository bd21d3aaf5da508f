"""Those that run exported students: mmdet's inferencer, SAHI, MMEngine's runner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmdet.apis import DetInferencer, init_detector
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from aerialkd.cli import read_config
from aerialkd.engine import without_pretrained
from aerialkd.export.student import export_student
from aerialkd.registry import MODELS
from tests.builders import retinanet
from tests.exports import build, config, distillation, image, predictions, save
from tests.trained import visdrone_config

# Of drawing: the inferencer gives no visualizer a folder, boxes reach over the border,
# a process keeps one visualizer of a name, and NumPy is handed tensors.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{message}')
    for message in (
        *('Failed to add', 'Warning. The', '__array_wrap__ must'),
        '.*instance named of visualizer',
    )
]
RESIZE = dict(type='Resize', scale=(160, 96), keep_ratio=True)
PIPELINE = [
    dict(type='LoadImageFromFile'),
    RESIZE,
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]


@pytest.fixture
def exported(tmp_path) -> tuple[Path, Path]:
    """A student that was distilled on data that are not here, and its config."""
    cfg = distillation('retinanet')
    cfg.test_dataloader.dataset.update(data_root='/private/data', pipeline=PIPELINE)
    path = save(build(cfg.model), tmp_path / 'epoch_1.pth')
    export_student(cfg, path, tmp_path / 'student.pth')
    assert '/private' not in (tmp_path / 'student.py').read_text()
    return tmp_path / 'student.pth', tmp_path / 'student.py'


def test_inferencer(exported, tmp_path):
    weights, file = map(str, exported)
    inferencer = DetInferencer(file, weights, device='cpu', show_progress=False)
    found = inferencer(image(), out_dir=str(tmp_path))
    model = init_detector(file, weights, device='cpu')
    expected = predictions(model, model.cfg)
    np.testing.assert_allclose(
        found['predictions'][0]['bboxes'], expected['bboxes'].numpy(), atol=1e-4
    )
    assert len(list((tmp_path / 'vis').glob('*.jpg'))) == 1


@pytest.mark.parametrize('kind', ['mmrotate', 'rotated'])
def test_inferencer_of_rotated_boxes(kind, tmp_path):
    """It looks names up in the scope of mmdet, whatever the config says."""
    cfg = distillation('rotated')
    if kind == 'mmrotate':
        name = 'rotated_retinanet/rotated-retinanet-rbox-le90_r50_fpn_1x_dota.py'
        shipped = read_config(f'mmrotate::{name}')
        cfg = config(without_pretrained(shipped.model), 'mmrotate')
        cfg.test_dataloader = shipped.test_dataloader
        cfg.model.backbone.update(depth=18, base_channels=8, stem_channels=8)
        cfg.model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
        cfg.model.bbox_head.update(in_channels=16, feat_channels=16)
    init_default_scope('mmrotate')
    path = save(MODELS.build(cfg.model.copy()), tmp_path / 'epoch_1.pth')
    export_student(cfg, path, tmp_path / 'student.pth')
    names = [str(tmp_path / f'student.{end}') for end in ('py', 'pth')]
    init_default_scope('mmdet')
    inferencer = DetInferencer(*names, device='cpu', show_progress=False)
    found = inferencer(image(), out_dir=str(tmp_path))
    assert {len(box) for box in found['predictions'][0]['bboxes']} <= {5}
    assert (tmp_path / 'vis').is_dir()


def test_readers_of_pipelines(exported):
    """MMDeploy compares bare names, and resizes in ``test_pipeline``."""
    written = Config.fromfile(exported[1])
    types = [step.type for step in written.test_pipeline]
    assert types == ['LoadImageFromFile', 'Resize', 'PackDetInputs']
    assert written.metainfo.classes == ('car', 'van', 'bus')


def test_runner_on_own_data(exported, made_images, tmp_path):
    """A config that inherits from it adds what is to be measured, and no more."""
    weights, file = exported
    cfg = visdrone_config(retinanet(), made_images)
    dataset = cfg.test_dataloader.dataset
    dataset.metainfo = dict(classes=('car', 'van', 'bus'))
    mine = dict(
        test_dataloader=dict(dataset=dict(_delete_=True, **dataset)),
        test_evaluator=dict(type='aerialkd.VisDroneMetric'),
        test_cfg=dict(),
        work_dir=str(tmp_path / 'work'),
        load_from=str(weights),
    )
    lines = [f'{key} = {dict(test=value)!r}["test"]' for key, value in mine.items()]
    text = '\n'.join([f'_base_ = {str(file)!r}', *lines])
    (tmp_path / 'mine.py').write_text(text.replace('ConfigDict', 'dict'))
    runner = Runner.from_cfg(Config.fromfile(tmp_path / 'mine.py'))
    assert 'visdrone/AP@500' in runner.test()


def test_sahi(exported):
    sahi = pytest.importorskip('sahi')
    predict = pytest.importorskip('sahi.predict')
    weights, file = map(str, exported)
    model = sahi.AutoDetectionModel.from_pretrained(
        model_type='mmdet',
        model_path=weights,
        config_path=file,
        confidence_threshold=0.0,
        device='cpu',
    )
    assert model.category_mapping == {'0': 'car', '1': 'van', '2': 'bus'}
    assert not model.has_mask
    whole = predict.get_prediction(image()[..., ::-1], model).object_prediction_list
    detector = init_detector(file, weights, device='cpu')
    expected = predictions(detector, detector.cfg)
    scores = np.array([[found.score.value] for found in whole])
    assert len(scores) > 10  # without boxes of no size
    assert np.abs(scores - expected['scores'].numpy()).min(1).max() < 1e-5
    sliced = predict.get_sliced_prediction(
        image(), model, slice_height=64, slice_width=64, verbose=0
    )
    names = {found.category.name for found in sliced.object_prediction_list}
    assert names <= {'car', 'van', 'bus'}
    assert names
