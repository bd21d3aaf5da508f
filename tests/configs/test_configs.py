"""Every shipped config is parsed, its references exist, and it runs a step."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope

from aerialkd.algorithms import DetectionDistill
from aerialkd.engine import model_cfg, student_model_cfg, without_pretrained
from aerialkd.engine.profile import made_batch

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
DISTILLATIONS = [path for path in CONFIGS if path.name.startswith('pkd_')]
PLAIN = [path for path in CONFIGS if path not in DISTILLATIONS]

MILLIONS = {
    **{18: (18, 22), 34: (28, 32), 50: (31, 38), 101: (50, 57)},  # ResNet
    **dict(n=(3.0, 3.1), s=(11.1, 11.2), m=(25.8, 25.9), l=(43.6, 43.7), x=(68, 68.2)),
}


def load(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    return cfg


def narrow(model):
    """The same architecture at a width that runs in a second."""
    model = without_pretrained(model)
    backbone, neck, head = model.backbone, model.neck, model.bbox_head
    factor = backbone.get('base_channels', 64) // 8
    backbone.base_channels = backbone.stem_channels = 8
    backbone.depth = min(backbone.depth, 50)
    neck.in_channels = [channels // factor for channels in neck.in_channels]
    neck.out_channels = head.in_channels = head.feat_channels = 32
    head.stacked_convs = 1
    return model


def test_there_are_configs():
    assert len(DISTILLATIONS) >= 14
    assert len(PLAIN) >= 25


@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_parses_and_names_what_exists(path, monkeypatch):
    cfg = load(path, monkeypatch)
    assert cfg.custom_imports['imports'] == ['aerialkd']
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = cfg[key].dataset
        dataset = dataset.get('dataset', dataset)
        assert DATASETS.get(dataset.type) is not None
    assert METRICS.get(cfg.val_evaluator.type) is not None
    pack = cfg.test_dataloader.dataset.pipeline[-1]
    # mmdet scales detections back with one, the metric takes its truth from the other.
    assert {'scale_factor', 'instances'} <= set(pack.meta_keys)
    # The best checkpoint is chosen by a value that the evaluator returns.
    assert cfg.default_hooks.checkpoint.save_best == 'visdrone/AP@500'


@pytest.mark.parametrize('path', PLAIN, ids=str)
def test_file_name_agrees_with_the_model(path, monkeypatch):
    cfg = load(path, monkeypatch)
    words = path.stem.split('_')
    detector, _, size = words[0].partition('-')
    assert cfg.model.type.split('.')[-1].lower() == detector
    if size:
        parts = cfg.model.backbone, cfg.model.neck, cfg.model.bbox_head
        assert [part.size for part in parts] == [size] * 3
        scale = cfg.test_dataloader.dataset.pipeline[1].scale
        assert scale == (int(words[1]), int(words[1]))
    elif path.parts[1] == 'detectors':
        assert f'r{cfg.model.backbone.depth}' == words[1]
        assert cfg.model.neck.in_channels[-1] == (
            512 if words[1] in ('r18', 'r34') else 2048
        )
        assert cfg.model.backbone.init_cfg.checkpoint.endswith(words[1][1:])


@pytest.mark.parametrize('path', DISTILLATIONS, ids=str)
def test_file_name_agrees_with_the_pair(path, monkeypatch):
    cfg = load(path, monkeypatch)
    assert Path(cfg.model.teacher).is_file()
    method, detector, *rest = path.stem.split('_')
    losses = [loss.type for loss in cfg.model.distiller.distill_losses.values()]
    assert [name.lower() for name in losses] == [f'aerialkd.{method}loss']
    assert cfg.model.architecture.type.lower() == detector
    teacher = Config.fromfile(cfg.model.teacher)
    if rest:
        names = rest[0].split('-')
        depths = [teacher.model.backbone.depth, cfg.model.architecture.backbone.depth]
        assert names == [f'r{depth}' for depth in depths]
        # The teacher is trained on the same images, into the folder that is read.
        assert Path(cfg.model.teacher_ckpt).parts[1] == Path(cfg.model.teacher).stem
        assert teacher.train_dataloader == cfg.train_dataloader
    else:
        assert str(Path(cfg.model.teacher_ckpt).parent) == teacher.work_dir
    last = f'epoch_{teacher.train_cfg.max_epochs}.pth'
    assert Path(cfg.model.teacher_ckpt).name == last


@pytest.mark.parametrize('path', DISTILLATIONS, ids=str)
def test_runs_a_step(path, monkeypatch):
    cfg = load(path, monkeypatch)
    cfg.model.architecture = narrow(cfg.model.architecture)
    cfg.model.teacher = narrow(model_cfg(cfg.model.teacher))
    cfg.model.teacher_ckpt = None
    model = MODELS.build(cfg.model).train()
    assert isinstance(model, DetectionDistill)
    data = made_batch(model, 1, (128, 160), boxes=5)
    loss, log = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert log['distill.loss_pkd'] > 0
    assert all(torch.isfinite(value) for value in log.values())
    plain = MODELS.build(student_model_cfg(cfg))
    plain.load_state_dict(model.state_dict(), strict=True)


@pytest.mark.parametrize(
    'path', [path for path in PLAIN if path.parts[1] == 'detectors'], ids=str
)
def test_detector_builds_at_full_size(path, monkeypatch):
    cfg = load(path, monkeypatch)
    with torch.device('meta'):
        model = MODELS.build(without_pretrained(cfg.model))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    low, high = MILLIONS[cfg.model.backbone.get('depth') or cfg.model.backbone.size]
    assert low < millions < high
