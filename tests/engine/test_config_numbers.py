"""Numbers that would make every step useless are refused before a step."""

from __future__ import annotations

import math

import pytest
from mmengine.config import Config

from aerialkd.engine.config_numbers import check_numbers
from aerialkd.errors import ConfigError


def config(**settings):
    cfg = Config(
        dict(
            model=dict(
                bbox_head=dict(
                    num_classes=3,
                    loss_cls=dict(type='FocalLoss', loss_weight=1.0),
                    regress_ranges=((-1, 64), (64, float('inf'))),
                ),
                distill=[dict(loss_weight=2), dict(tau=1.0)],
            ),
            optim_wrapper=dict(optimizer=dict(lr=0.01, weight_decay=0, momentum=None)),
            param_scheduler=[dict(start_factor=0.1)],
        )
    )
    cfg.merge_from_dict(settings)
    return cfg


def test_what_configs_hold():
    check_numbers(config())
    check_numbers(Config(dict(model=dict(type='Toy'))))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.bbox_head.loss_cls.loss_weight', math.nan),
        ('model.bbox_head.loss_cls.loss_weight', math.inf),
        ('model.bbox_head.loss_cls.loss_weight', 'ten'),
        ('model.bbox_head.loss_cls.loss_weight', '1.0'),
        ('model.bbox_head.loss_cls.loss_weight', True),
        ('model.distill.1.tau', math.nan),
        ('optim_wrapper.optimizer.lr', '1e-3'),
        ('optim_wrapper.optimizer.lr', math.inf),
        ('optim_wrapper.optimizer.weight_decay', math.nan),
        ('param_scheduler.0.start_factor', math.nan),
    ],
)
def test_refused_with_its_place(key, value):
    with pytest.raises(ConfigError) as told:
        check_numbers(config(**{key: value}))
    expected = f'{key}: got {value!r}, expected a finite number'
    assert str(told.value).startswith(expected)
