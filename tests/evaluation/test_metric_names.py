"""Measures have names that every logging backend takes; those of 0.1.0 find them."""

from __future__ import annotations

import itertools
import json
import posixpath
import re

import pytest
from mmengine.evaluator import Evaluator
from mmengine.registry import HOOKS, METRICS

from aerialkd.errors import ConfigError
from aerialkd.evaluation.metric_names import (
    NamedMeasures,
    class_part,
    current_names,
    rule_of,
    split_limit,
)
from tests.builders import retinanet
from tests.trained import visdrone_config

# What MLflow takes; TensorBoard and others take more.
MLFLOW = re.compile(r'[/\w.\- ]+')
CLASSES = ('awning-tricycle', 'small vehicle', 'C/D ship (old)', 'a@b', '船')
_number = itertools.count()


def taken(name):
    return MLFLOW.fullmatch(name) and posixpath.normpath(name) == name


@pytest.mark.parametrize(
    ('kind', 'first'),
    [
        ('VisDroneMetric', 'visdrone/AP_at_100'),
        ('RotatedMetric', 'rotated/mAP50'),
    ],
)
def test_every_backend_takes_them_and_more_is_better(kind, first):
    metric = dict(type=f'aerialkd.{kind}', classwise=True)
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=CLASSES)
    sample = dict(
        img_id=0,
        img_path='a.png',
        ori_shape=(64, 64),
        gt_instances=dict(bboxes=[], labels=[]),
        ignored_instances=dict(bboxes=[], labels=[]),
        pred_instances=dict(bboxes=[], labels=[], scores=[]),
    )
    evaluator.process([sample])
    found = evaluator.evaluate(1)
    assert first in found
    assert len(found) > 2 * len(CLASSES)
    assert [name for name in found if not taken(name)] == []
    assert {rule_of(name) for name in found} == {'greater'}


def test_names_of_0_1_0_find_measures():
    found = NamedMeasures({'visdrone/car/AP50_at_100': 0.5, 'my@2': 1, 'loss': 2})
    assert found['visdrone/car/AP50@100'] == 0.5
    assert found.get('visdrone/car/AP50@100') == 0.5
    assert 'visdrone/car/AP50@100' in found
    assert (found['my@2'], found.get('AP@1'), 'AP@1' in found) == (1, None, False)
    with pytest.raises(KeyError, match='AP@500'):
        found['visdrone/AP@500']
    assert list(found) == ['visdrone/car/AP50_at_100', 'my@2', 'loss']
    old = {'visdrone/AP@500': 0.2, 'coco/bbox_mAP_50': 0.1}
    assert dict(current_names(old)) == {
        'visdrone/AP_at_500': 0.2,
        'coco/bbox_mAP_50': 0.1,
    }
    assert split_limit('AR_S_at_15') == split_limit('AR_S@15') == ('AR_S', 15)
    assert class_part('a/b@c') == 'a_b_c'


@pytest.mark.parametrize(
    ('name', 'rule'),
    [
        ('visdrone/AP@500', 'greater'),
        ('visdrone/AP_S_at_500', 'greater'),
        ('rotated/scenes/ship/AP75', 'greater'),
        ('rotated/AP75_11', 'greater'),
        ('shape/loss', None),
        ('APE', None),
    ],
)
def test_rule(name, rule):
    assert rule_of(name) == rule


def test_rules_are_inferred_or_asked_for():
    checkpoint = HOOKS.build(
        dict(type='CheckpointHook', save_best=['visdrone/AR@100', 'my_loss', 'acc'])
    )
    assert checkpoint.rules == ['greater', 'less', 'greater']
    own = dict(save_best='visdrone/AP_at_500', less_keys=['ap_at'])
    assert HOOKS.build(dict(type='CheckpointHook', **own)).rules == ['less']
    early = dict(type='EarlyStoppingHook', monitor='visdrone/AP_at_500')
    assert HOOKS.build(early).rule == 'greater'
    assert HOOKS.build(early | dict(monitor='val_loss')).rule == 'less'
    for hook in (
        dict(type='CheckpointHook', save_best='fitness'),
        dict(type='EarlyStoppingHook', monitor='fitness'),
    ):
        with pytest.raises(ConfigError, match=r"fitness.*='greater' or 'less'"):
            HOOKS.build(hook)


@METRICS.register_module(force=True)
class Fitness(METRICS.get('aerialkd.VisDroneMetric')):
    """A user's measure, whose name says nothing."""

    def compute_metrics(self, results):
        return {'fitness': 0.5}


@pytest.fixture
def train(tmp_path, made_images, run):
    """Train two epochs with hooks and schedules of a user's."""

    def trained(**settings):
        cfg = visdrone_config(retinanet(10), made_images, epochs=2)
        cfg.work_dir = str(tmp_path / 'work')
        cfg.visualizer = dict(
            type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]
        )
        cfg.visualizer.name = cfg.experiment_name = f'names_{next(_number)}'
        cfg.merge_from_dict(settings)
        cfg.dump(tmp_path / 'own.py')
        return run('train', tmp_path / 'own.py')

    return trained


def test_config_of_0_1_0_trains(train, tmp_path):
    name = 'visdrone/AP@500'
    hooks = [dict(type='EarlyStoppingHook', monitor=name, patience=1)]
    plateau = dict(type='ReduceOnPlateauLR', monitor=name, rule='greater', patience=0)
    checkpoint = dict(type='CheckpointHook', save_best=name, rule='greater')
    settings = dict(custom_hooks=hooks, param_scheduler=[plateau])
    _, status = train(**settings, default_hooks=dict(checkpoint=checkpoint))
    assert status == 0
    assert len(list((tmp_path / 'work').glob('best_visdrone_AP*.pth'))) == 1
    (scalars,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    names = {name for row in rows for name in row}
    assert 'visdrone/AP_at_500' in names
    assert [name for name in names if not taken(name)] == []


def test_best_by_whatever_comes_first(train, tmp_path):
    checkpoint = dict(type='CheckpointHook', save_best='auto')
    assert train(default_hooks=dict(checkpoint=checkpoint)) == ('', 0)
    files = [file.name for file in (tmp_path / 'work').glob('best_*.pth')]
    assert len(files) == 1
    assert files[0].startswith('best_visdrone_AP_at_100_epoch_')


def test_measure_of_which_nobody_knows_whether_more_is_better(train):
    checkpoint = dict(type='CheckpointHook', save_best='auto')
    settings = dict(default_hooks=dict(checkpoint=checkpoint))
    line, status = train(**settings, val_evaluator=dict(type='Fitness'))
    assert status == 2
    assert "Set default_hooks.checkpoint.rule='greater' or 'less'" in line


def test_validation_without_objects_has_no_best_checkpoint(train, tmp_path):
    hooks = [dict(type='EarlyStoppingHook', monitor='visdrone/AP_at_500', patience=1)]
    checkpoint = dict(type='CheckpointHook', save_best='visdrone/AP_at_500')
    metric = dict(type='Nothing', classwise=False)
    settings = dict(custom_hooks=hooks, val_evaluator=metric)
    _, status = train(**settings, default_hooks=dict(checkpoint=checkpoint))
    assert status == 0
    assert not list((tmp_path / 'work').glob('best_*.pth'))
    assert len(list((tmp_path / 'work').glob('epoch_2.pth'))) == 1  # was not stopped
    log = next((tmp_path / 'work').glob('*/*.log')).read_text()
    assert log.count('no checkpoint is the best one') == 1  # the logger says it once
    assert log.count('early stopping waits') == 1


@METRICS.register_module(force=True)
class Nothing(METRICS.get('aerialkd.VisDroneMetric')):
    """Looks at images as if none had an annotation."""

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            sample['instances'] = []
        super().process(data_batch, data_samples)
