"""Every shipped config is parsed, its references exist, and it runs a step."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope

from aerialkd.algorithms import DetectionDistill
from aerialkd.cli import read_config
from aerialkd.engine import student_model_cfg, without_pretrained
from aerialkd.engine.profile import made_batch
from tests.shipped import (
    CONFIGS,
    DISTILLATIONS,
    METHODS,
    ROOT,
    narrow,
    narrow_pair,
    parts,
)

# Students that ZoomInNet changes, by the first word of the file name.
STUDENTS = ('la', 'fa', 'fa-thin-head')
# prefix, detector, variant: 'rotated-retinanet-dist', 'yolov8-n', 'atss-optim-test'
DETECTOR = re.compile(
    '(rotated-|zoom-)?(retinanet|gfl|atss|yolov8|faster-rcnn|cascade-rcnn)'
    '(?:-([nsmlx]|optim-test|fine-tune-[12]|dist))?'
)
NECKS = {
    'fpn': 'FPN',
    'pafpn': 'PAFPN',
    'nas-fpn': 'NASFPN',
    'libra': 'BFP',
    'no-top-down': 'ChannelMapper',
}
EPOCHS = {'1x': 12, '6x': 72, '10e': 10, '20e': 20}
PLAIN = [path for path in CONFIGS if path not in DISTILLATIONS]
# The others run as students and teachers of the distillations.
ALONE = [path for path in PLAIN if path.parts[1] != 'detectors']

MILLIONS = {
    **{18: (18, 22), 34: (28, 32), 50: (31, 39), 101: (50, 57)},  # ResNet
    **dict(n=(3.0, 3.1), s=(11.1, 11.2), m=(25.8, 25.9), l=(43.6, 43.7), x=(68, 68.2)),
}


def load(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    return cfg


def test_there_are_configs():
    assert len(DISTILLATIONS) >= 30
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
    options = cfg.test_evaluator.to_dict()
    options.get('merging', {}).pop('scenes', None)  # not here
    METRICS.build({**options, 'outfile_prefix': 'results'})
    pack = cfg.test_dataloader.dataset.pipeline[-1]
    # mmdet scales detections back with it.
    assert 'scale_factor' in pack.meta_keys
    assert cfg.default_hooks.teacher_check.type == 'aerialkd.TeacherCheckHook'
    # The best checkpoint is chosen by a value that the evaluator returns.
    best = cfg.default_hooks.checkpoint.save_best
    assert 'instances' in pack.meta_keys  # where the metrics take their truth from
    assert (cfg.val_evaluator.type, best) in (
        ('aerialkd.VisDroneMetric', 'visdrone/AP_at_500'),
        ('aerialkd.RotatedMetric', 'rotated/mAP50'),
    )


@pytest.mark.parametrize('path', PLAIN, ids=str)
def test_file_name_agrees_with_the_model(path, monkeypatch):
    cfg = load(path, monkeypatch)
    words = path.stem.split('_')
    student = words.pop(0) if words[0] in STUDENTS else None
    prefix, detector, variant = DETECTOR.fullmatch(words[0]).groups()
    assert cfg.model.type.split('.')[-1].lower() == detector.replace('-', '')
    anchors = cfg.model.get('bbox_head', {}).get('anchor_generator')
    assert (prefix == 'rotated-') == ('Rotated' in str(anchors))
    head = str(cfg.model.get('bbox_head', {}).get('type'))
    assert (variant == 'dist') == ('Distribution' in head)
    assert_adapted(student, cfg.model)
    if detector == 'yolov8':
        components = cfg.model.backbone, cfg.model.neck, cfg.model.bbox_head
        assert [component.size for component in components] == [variant] * 3
        scale = cfg.test_dataloader.dataset.pipeline[1].scale
        assert scale == (int(words[1]), int(words[1]))
    elif len(words) > 2:
        names_full_size(cfg, *words[1:])


def assert_adapted(student, model):
    """ZoomInNet's LA predicts on a finer grid, its FA has a finer level."""
    head = str(model.get('bbox_head', {}).get('type'))
    first = parts(model.neck)[0].get('start_level')
    assert (student == 'la') == ('LA' in head)
    assert (student in ('fa', 'fa-thin-head')) == (first == 0)


def names_full_size(cfg, backbone, neck, schedule, data):
    """retinanet_r50_fpn_1x_visdrone-512: what follows the detector."""
    pretrained = cfg.model.backbone.init_cfg.checkpoint
    if backbone.startswith('r'):
        assert f'r{cfg.model.backbone.depth}' == backbone
        assert pretrained == f'torchvision://resnet{backbone[1:]}'
        width = 512 if backbone in ('r18', 'r34') else 2048
    else:
        name, _, narrowest = backbone.partition('-w')
        assert pretrained == f'open-mmlab://msra/{name}_w{narrowest}'
        width = 8 * int(narrowest)
    assert parts(cfg.model.neck)[0].in_channels[-1] == width
    assert parts(cfg.model.neck)[-1].type.removeprefix('mmdet.') == NECKS[neck]
    assert cfg.train_cfg.max_epochs == EPOCHS[schedule]
    folder, size = data.removesuffix('-train').split('-')
    assert folder in cfg.data_root.lower()
    scale = cfg.test_dataloader.dataset.pipeline[1].scale
    assert scale[0] == int(size.split('x')[0])


@pytest.mark.parametrize('path', DISTILLATIONS, ids=str)
def test_file_name_agrees_with_the_pair(path, monkeypatch):
    cfg = load(path, monkeypatch)
    assert Path(cfg.model.teacher).is_file()
    method, detector, *rest = path.stem.split('_')
    distiller = cfg.model.distiller
    kept = distiller.get('only') or list(distiller.distill_losses)
    losses = [distiller.distill_losses[name].type for name in kept]
    assert losses == [f'aerialkd.{name}' for name in METHODS[method]]
    kind = cfg.model.architecture.type.split('.')[-1].lower()
    named = detector.removeprefix('rotated-').removeprefix('zoom-')
    assert kind == named.removesuffix('-dist')
    head = str(cfg.model.architecture.bbox_head.type)
    assert named.endswith('-dist') == ('Distribution' in head)
    zooms = cfg.model.type == 'aerialkd.CrossScaleDistill'
    assert zooms == ('cskd' in method)
    if zooms:
        student = method.removesuffix('cskd').removesuffix('-') or None
        assert_adapted(student, cfg.model.architecture)
    teacher = read_config(cfg.model.teacher)
    if rest:
        names = rest[0].split('-')
        backbones = teacher.model.backbone, cfg.model.architecture.backbone
        assert names == [b.get('size') or f'r{b.depth}' for b in backbones]
        # The teacher is trained on the same images, into the folder that is read.
        assert Path(cfg.model.teacher_ckpt).parts[1] == Path(cfg.model.teacher).stem
        assert teacher.train_dataloader == cfg.train_dataloader
    else:
        assert str(Path(cfg.model.teacher_ckpt).parent) == teacher.work_dir
    if zooms:  # training images at the teacher's scale, test images at the student's
        assert cfg.train_dataloader == teacher.train_dataloader
        small, large = (
            c.test_dataloader.dataset.pipeline[1].scale for c in (cfg, teacher)
        )
        assert [cfg.model.scale * side for side in small] == list(large)
    last = f'epoch_{teacher.train_cfg.max_epochs}.pth'
    assert Path(cfg.model.teacher_ckpt).name == last


@pytest.mark.parametrize('path', DISTILLATIONS, ids=str)
def test_runs_a_step(path, monkeypatch):
    cfg = load(path, monkeypatch)
    narrow_pair(cfg.model)
    model = MODELS.build(cfg.model).train()
    assert isinstance(model, DetectionDistill)
    data = made_batch(model, 1, (128, 160), boxes=5)
    loss, log = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    distilled = [value for name, value in log.items() if name.startswith('distill.')]
    assert len(distilled) == len(METHODS[path.stem.split('_')[0]])
    assert all(value > 0 for value in distilled)
    assert all(p.grad is not None for p in model.distiller.parameters())
    assert all(torch.isfinite(value) for value in log.values())
    plain = MODELS.build(student_model_cfg(cfg))
    state = model.state_dict()
    student = {key: state[key] for key in state if not key.startswith('distiller.')}
    plain.load_state_dict(student, strict=True)


@pytest.mark.parametrize('path', ALONE, ids=str)
def test_plain_detector_runs_a_step(path, monkeypatch):
    cfg = load(path, monkeypatch)
    model = MODELS.build(narrow(cfg.model)).train()
    head = model.roi_head.bbox_head if 'roi_head' in cfg.model else model.bbox_head
    head = head[0] if isinstance(head, torch.nn.ModuleList) else head
    student = SimpleNamespace(bbox_head=head)
    preprocessor = model.data_preprocessor
    made_for = SimpleNamespace(student=student, data_preprocessor=preprocessor)
    data = made_batch(made_for, 1, (128, 160), boxes=5)
    loss, log = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert loss > 0
    assert all(torch.isfinite(value) for value in log.values())
    without = {
        name.split('.')[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    }
    assert not without
    with torch.no_grad():
        (found,) = model.eval()(**data, mode='predict')
    limits = cfg.model.test_cfg
    assert len(found.pred_instances) <= limits.get('rcnn', limits).max_per_img


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
