"""A checkpoint is evaluated once, completely, and what is kept can be trusted."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.registry import MODELS

from aerialkd.engine import evaluated, evaluated_cache
from aerialkd.engine.evaluated import cached_run, evaluated_run
from aerialkd.engine.weights import load_weights
from aerialkd.errors import CheckpointError, ConfigError
from tests.builders import retinanet, rotated_retinanet
from tests.trained import dota_config, train, visdrone_config, write_turned_objects


@pytest.fixture(scope='module')
def work_dir(made_images, tmp_path_factory):
    cfg = visdrone_config(retinanet(10), made_images)
    return train(cfg, tmp_path_factory.mktemp('runs') / 'student')


@pytest.fixture
def cfg(work_dir):
    return Config.fromfile(work_dir / 'student.py')


@pytest.fixture(scope='module')
def run(work_dir):
    cfg = Config.fromfile(work_dir / 'student.py')
    return evaluated_run(cfg, work_dir / 'epoch_1.pth', work_dir, 'cpu')


def refuse(*_):
    raise AssertionError('it was evaluated again')


def test_measures_boxes_and_costs(run, work_dir):
    assert {'visdrone/AP_at_500', 'visdrone/car/AP50_at_100'} <= set(run.metrics)
    assert len(run.images) == 2
    assert run.classes[3] == 'car'
    assert run.ignored_regions
    assert run.max_dets == 500
    image = run.images[0]
    assert image.size == (64, 64)
    assert image.boxes.shape == (20, 4)  # score_thr is 0, max_per_img is 20
    assert (np.diff(image.scores) <= 0).all()
    annotation = image.path.replace('images', 'annotations').replace('.jpg', '.txt')
    with open(annotation) as opened:
        first = opened.readline().split(',')
    x, y, width, height = map(int, first[:4])
    assert image.gt_boxes[0].tolist() == [x, y, x + width, y + height]
    assert image.gt_labels[0] == int(first[5]) - 1
    state = load_weights(work_dir / 'epoch_1.pth').state_dict
    learnt = [
        v for k, v in state.items() if not k.endswith(('_mean', '_var', '_tracked'))
    ]
    assert run.parameters == sum(value.numel() for value in learnt)
    assert run.input_size == (64, 64)
    assert run.images_per_second > 0
    assert (run.device, run.threads) == ('cpu', torch.get_num_threads())


def test_flops_are_twice_the_multiply_adds(run):
    model = MODELS.build(retinanet(10)).eval()
    model.forward = model._forward
    counter = FlopAnalyzer(model, torch.zeros(1, 3, 64, 64))
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counter.tracer_warnings('none')
    by_operator = counter.by_operator()
    assert run.flops == 2 * by_operator['conv'] > 0


def test_a_second_call_reads_what_was_kept(run, work_dir, cfg, monkeypatch):
    monkeypatch.setattr(evaluated, 'build_test_runner', refuse)
    again = evaluated_run(cfg, work_dir / 'epoch_1.pth', work_dir, 'cpu')
    assert again.metrics == run.metrics
    assert again.classes == run.classes
    assert again.input_size == run.input_size
    for one, other in zip(again.images, run.images, strict=True):
        assert one.path == other.path
        assert one.size == other.size
        for name in ('gt_boxes', 'gt_labels', 'gt_ignored', 'boxes', 'scores'):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert not (work_dir / 'evaluation.npz').read_bytes().startswith(b'\x80')


@pytest.mark.parametrize('change', ['checkpoint', 'model', 'data', 'device'])
def test_what_was_kept_does_not_serve_another(run, work_dir, cfg, change):
    checkpoint, device = work_dir / 'epoch_1.pth', 'cpu'
    times = checkpoint.stat()
    assert cached_run(cfg, checkpoint, work_dir, device) is not None
    if change == 'checkpoint':
        os.utime(checkpoint, (times.st_atime, times.st_mtime + 5))
    elif change == 'model':
        cfg.model.test_cfg.score_thr = 0.5
    elif change == 'data':
        cfg.test_dataloader.dataset.data_root += '/'
    else:
        device = 'cuda:7'
    try:
        assert cached_run(cfg, checkpoint, work_dir, device) is None
    finally:
        os.utime(checkpoint, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize('name', ['evaluation.json', 'evaluation.npz'])
def test_damaged_files_are_not_read(run, work_dir, cfg, tmp_path, name):
    for file in ('evaluation.json', 'evaluation.npz'):
        content = (work_dir / file).read_bytes()
        half = content[: len(content) // 2] if file == name else content
        (tmp_path / file).write_bytes(half)
    assert cached_run(cfg, work_dir / 'epoch_1.pth', tmp_path) is None


def test_files_of_two_evaluations_are_not_mixed(run, work_dir, cfg, tmp_path):
    key = evaluated_cache.key_of(cfg, work_dir / 'epoch_1.pth', 'cpu')
    evaluated_cache.keep(run, {**key, 'size': 1}, tmp_path)
    numbers = json.loads((tmp_path / 'evaluation.json').read_text())
    (tmp_path / 'evaluation.json').write_text(json.dumps({**numbers, 'key': key}))
    assert cached_run(cfg, work_dir / 'epoch_1.pth', tmp_path) is None


def test_evaluating_leaves_config_and_work_dir_alone(run, work_dir, cfg):
    before, files = cfg.to_dict(), set(work_dir.iterdir())
    evaluated_run(cfg, work_dir / 'epoch_1.pth', None, 'cpu')
    assert cfg.to_dict() == before
    assert set(work_dir.iterdir()) == files


def test_mistakes_are_named(work_dir, cfg, tmp_path):
    with pytest.raises(CheckpointError, match=r'no\.pth: no such checkpoint'):
        evaluated_run(cfg, work_dir / 'no.pth', work_dir)
    with pytest.raises(ConfigError, match="device: got 'abacus'"):
        evaluated_run(cfg, work_dir / 'epoch_1.pth', device='abacus')
    cfg.test_dataloader.dataset.data_root = str(tmp_path / 'gone')
    with pytest.raises(ConfigError, match='gone'):
        evaluated_run(cfg, work_dir / 'epoch_1.pth')
    cfg.test_dataloader = None
    with pytest.raises(ConfigError, match='got no test_dataloader'):
        evaluated_run(cfg, work_dir / 'epoch_1.pth')


# mmrotate's measure leaves its temporary folder to the garbage collector.
@pytest.mark.filterwarnings('ignore:Implicitly cleaning up:ResourceWarning')
def test_rotated_boxes(tmp_path, without_processes):
    cfg = dota_config(rotated_retinanet(), write_turned_objects(tmp_path / 'dota'))
    model = MODELS.build(cfg.model)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'start.pth')
    run = evaluated_run(cfg, tmp_path / 'start.pth', tmp_path)
    assert run.rotated
    assert 'dota/AP50' in run.metrics
    image = run.images[0]
    assert image.gt_ignored.tolist() == [False, False, True]
    annotation = tmp_path / f'dota/annfiles/{Path(image.path).stem}.txt'
    rows = [line.split()[:8] for line in annotation.read_text().splitlines()]
    # The corners as they were drawn, no rectangle around them.
    assert image.gt_boxes == pytest.approx(np.array(rows, float), abs=1e-4)
    assert image.boxes.shape == (len(image.scores), 8)
    kept = cached_run(cfg, tmp_path / 'start.pth', tmp_path)
    assert np.array_equal(kept.images[2].boxes, run.images[2].boxes)


def test_rotated_metric(tmp_path):
    cfg = dota_config(rotated_retinanet(), write_turned_objects(tmp_path / 'dota'))
    cfg.test_evaluator = dict(type='aerialkd.RotatedMetric', classwise=True)
    model = MODELS.build(cfg.model)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'start.pth')
    run = evaluated_run(cfg, tmp_path / 'start.pth', tmp_path)
    assert {'rotated/mAP', 'rotated/ship/AP50'} <= set(run.metrics)
    assert run.rotated
    assert not run.ignored_regions
    assert run.max_dets == max(len(image.scores) for image in run.images)
