"""What variants change of a config; test-time augmentation is evaluated for real."""

import copy

import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.engine.evaluated import cached_run, evaluated_run
from aerialkd.engine.variants import variants
from aerialkd.errors import ConfigError
from tests.builders import distill, retinanet, rotated_retinanet
from tests.trained import dota_config, visdrone_config, write_turned_objects


@pytest.fixture
def cfg(made_images):
    return visdrone_config(retinanet(10), made_images)


def pipeline_of(cfg):
    return cfg.test_dataloader.dataset.pipeline


def test_the_detector_as_configured_comes_first(cfg):
    listed = variants([32, 128], [1, 2.5], tta=True)
    assert [v.label for v in listed] == [
        'whole image',
        'size 32',
        'size 128',
        'background 1x',
        'background 2.5x',
        'test-time augmentation',
    ]
    assert len({v.folder for v in listed}) == len(listed)
    assert listed[0].of(cfg).to_dict() == cfg.to_dict()
    before = copy.deepcopy(cfg.to_dict())
    for variant in listed[1:]:
        assert variant.of(cfg).to_dict() != before
    assert cfg.to_dict() == before


@pytest.mark.parametrize(
    ('resize', 'scale'),
    [
        (dict(scale=(1333, 800), keep_ratio=True), (512, 307)),
        (dict(scale=(800, 1333), keep_ratio=True), (307, 512)),
        (dict(scale=(640, 480), keep_ratio=False), (512, 512)),
        (dict(scale=(640, 480)), (512, 512)),
    ],
)
def test_size(cfg, resize, scale):
    pipeline_of(cfg)[1] = dict(type='mmdet.Resize', **resize)
    changed = variants([512])[1].of(cfg)
    assert pipeline_of(changed)[1] == {**pipeline_of(cfg)[1], 'scale': scale}
    assert changed.val_dataloader == cfg.val_dataloader


def test_background_is_blanked_as_soon_as_the_image_is_loaded(cfg):
    changed = pipeline_of(variants(keep_background=[3])[1].of(cfg))
    assert changed[1] == dict(type='aerialkd.KeepBackground', k=3)
    assert [changed[0], *changed[2:]] == pipeline_of(cfg)


def test_a_pipeline_that_cannot_be_changed(cfg):
    del pipeline_of(cfg)[1]
    with pytest.raises(ConfigError, match=r'got LoadImageFromFile, .*expected Resize'):
        variants([512])[1].of(cfg)
    del cfg.test_dataloader.dataset['pipeline']
    with pytest.raises(ConfigError, match=r'got no steps, expected LoadImage'):
        variants(keep_background=[1])[1].of(cfg)
    with pytest.raises(ConfigError, match=r'got \[64, 0\], expected pixels above 0'):
        variants([64, 0])


def save(model, folder):
    state = MODELS.build(model).state_dict()
    torch.save({'state_dict': state}, folder / 'start.pth')
    return folder / 'start.pth'


def test_mirror_images_cost_twice_and_are_kept_apart(cfg, tmp_path):
    checkpoint = save(cfg.model, tmp_path)
    cfg.model = distill(architecture=cfg.model)  # no teacher is needed
    plain = evaluated_run(cfg, checkpoint, tmp_path, 'cpu')
    merged = variants(tta=True)[1].of(cfg)
    assert cached_run(merged, checkpoint, tmp_path, 'cpu') is None
    run = evaluated_run(merged, checkpoint, tmp_path / 'tta', 'cpu')
    assert run.flops == 2 * plain.flops
    assert run.parameters == plain.parameters
    assert set(run.metrics) == set(plain.metrics)
    assert run.images[0].boxes.shape != (0, 4)
    assert run.images[0].boxes.tolist() != plain.images[0].boxes.tolist()
    assert cached_run(merged, checkpoint, tmp_path / 'tta', 'cpu') is not None


def test_rotated_boxes_cannot_be_merged(tmp_path):
    cfg = dota_config(rotated_retinanet(), write_turned_objects(tmp_path / 'dota'))
    checkpoint = save(cfg.model, tmp_path)
    with pytest.raises(ConfigError, match=r'got rotated boxes, .*set tta_model'):
        evaluated_run(variants(tta=True)[1].of(cfg), checkpoint, device='cpu')
