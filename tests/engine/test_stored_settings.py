"""Decisive settings read from a dump and compared."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from aerialkd.cli import read_config
from aerialkd.engine.stored_settings import (
    DECISIVE,
    changes,
    differences,
    listed,
    parse_settings,
    settings_of,
)
from aerialkd.errors import ConfigError
from tests.shipped import ROOT


def test_a_dump_is_read_without_running_it(tmp_path):
    target = tmp_path / 'target'
    text = (
        "model = dict(type='A', parts=[dict(a=1), (2, -3.5)], rest={'b.c': None})\n"
        f"optim_wrapper = dict(lr=open({str(target)!r}, 'w'), end=inf, type=T.SGD)\n"
        "randomness = dict({'a.b': {1: True}})\n"
        'print(1)\n'
    )
    assert parse_settings(text, 'x') == dict(
        model=dict(type='A', parts=[dict(a=1), [2, -3.5]], rest={'b.c': None}),
        optim_wrapper=dict(lr=f"open({str(target)!r}, 'w')", end='inf', type='T.SGD'),
        randomness={'a.b': {'1': True}},
    )
    assert not target.exists()


@pytest.mark.parametrize('text', ['a = (', 'a = "', '(' * 10_000, 'a\0b'])
def test_text_that_is_none(text):
    with pytest.raises(ConfigError, match=r'^x\.py: cannot be read as a config'):
        parse_settings(text, 'x.py')


@pytest.mark.parametrize(
    'name',
    [
        'demo/rdr-kd_retinanet',
        'detectors/yolov8/yolov8-n_640_visdrone',
        'kd_rnet/kd-rnet_rotated-retinanet_r50-r18_fpn_1x_dota-600',
    ],
)
def test_a_config_equals_its_dump(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = read_config(f'configs/{name}.py')
    stored = parse_settings(cfg.pretty_text, 'x')
    given = settings_of(cfg)
    assert given == {key: stored[key] for key in DECISIVE if key in stored}
    assert len(given) >= 5


def test_lazy_config_equals_its_dump(tmp_path):
    (tmp_path / 'base.py').write_text('from torch.optim import SGD\noptimizer = SGD\n')
    (tmp_path / 'lazy.py').write_text(
        'from mmengine.config import read_base\n'
        'from mmengine.optim import OptimWrapper\n'
        'with read_base():\n    from .base import *\n'
        'model = dict(type=OptimWrapper, sizes=(1, 2))\n'
        'optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=optimizer))\n'
    )
    cfg = read_config(tmp_path / 'lazy.py')
    stored = parse_settings(cfg.pretty_text, 'x')
    assert cfg.model.type.__name__ == 'OptimWrapper'  # as what builds it does
    assert differences(stored, settings_of(cfg)) == []
    assert stored['model']['type'].endswith('OptimWrapper')


def test_differences_name_the_leaf_and_both_values():
    stored = dict(model=dict(a=[1, dict(b=2)], test_cfg=1, c='x' * 99), seed=1)
    given = dict(model=dict(a=[1, dict(b=3), 4], test_cfg=2), seed=2)
    found = [
        'model.a.1.b: stored 2, given 3',
        'model.a.2: stored nothing, given 4',
        'model.test_cfg: stored 1, given 2',
        f"model.c: stored '{'x' * 56}..., given nothing",
    ]
    assert differences(stored, given) == found
    del found[2]
    assert differences(stored, given, resumed=True) == found
    assert listed(found, 2) == f'{found[0]}; {found[1]}; and 1 more'
    assert listed(found) == '; '.join(found)


def test_of_a_config_without_a_file():
    assert settings_of(Config(dict(model=dict(a=(1,)), other=1))) == dict(
        model=dict(a=[1])
    )


def test_changes_of_a_resumed_training_and_their_effect():
    def settings(seed, weights, gamma, epochs):
        init = dict(type='Pretrained', checkpoint=weights)
        return dict(
            model=dict(backbone=dict(init_cfg=init), teacher=dict(init_cfg=init)),
            train_dataloader=dict(num_workers=seed, sampler=dict(seed=seed)),
            train_cfg=dict(max_epochs=epochs, val_interval=epochs),
            randomness=dict(seed=seed),
            # Where a hook stands says nothing.
            custom_hooks=[dict(type='A'), dict(type='EMAHook', gamma=gamma)][::epochs],
        )

    stored, given = settings(1, 'a.pth', 5, 1), settings(2, 'b.pth', 6, -1)
    found = {one.name: one.has_effect for one in changes(stored, given)}
    assert found == {
        'model.backbone.init_cfg.checkpoint': False,
        'model.teacher.init_cfg.checkpoint': True,
        'train_dataloader.sampler.seed': False,
        'train_cfg.max_epochs': True,
        'randomness.seed': False,
        'custom_hooks.EMAHook.gamma': True,
    }
    assert changes(stored, stored) == []


def test_weights_of_losses_make_no_other_training():
    stored = dict(model=dict(loss=dict(loss_weight=1.0, class_weight=[1, 2], tau=1)))
    given = dict(model=dict(loss=dict(loss_weight=2.0, class_weight=[1, 3], tau=2)))
    assert differences(stored, given, resumed=True) == [
        'model.loss.tau: stored 1, given 2'
    ]
    assert len(differences(stored, given)) == 3
    # A sampler's weights are of the data.
    stored, given = (dict(train_dataloader=dict(weight=n)) for n in (1, 2))
    assert len(differences(stored, given, resumed=True)) == 1


@pytest.mark.parametrize('key', ['teacher', 'architecture'])
def test_a_config_named_by_its_whole_path_is_the_same(key):
    """As a config is read now; before, a dump kept what the user had written."""
    stored, given = ({'model': {key: name}} for name in ('a/b.py', '/elsewhere/a/b.py'))
    assert differences(stored, given) == []
    other = {'model': {key: '/elsewhere/aa/b.py'}}
    assert len(differences(stored, other)) == len(differences(given, other)) == 1
