import pytest
import torch
from mmengine.registry import MODELS

from aerialkd.algorithms.renormalise import Renormalise
from tests.builders import IMAGENET, batch

OTHER = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 57.0, 50.0])


def preprocessor(**overrides):
    cfg = dict(
        type='mmdet.DetDataPreprocessor',
        bgr_to_rgb=True,
        pad_size_divisor=32,
        **IMAGENET,
    )
    return MODELS.build({**cfg, **overrides})


@pytest.mark.parametrize(
    'overrides',
    [
        OTHER,
        dict(bgr_to_rgb=False, **OTHER),
        dict(mean=[0.0] * 3, std=[255.0] * 3, pad_value=0.4),
        dict(pad_value=7),
        dict(mean=None, std=None),
        dict(mean=[127.5], std=[127.5]),
        dict(bgr_to_rgb=False),
    ],
)
def test_equals_the_teachers_own_preprocessor(overrides):
    source, target = preprocessor(), preprocessor(**overrides)
    given = source(batch(), True)
    expected = target(batch(), True)['inputs']
    result = Renormalise.between(source, target)(given['inputs'], given['data_samples'])
    assert torch.allclose(result, expected, atol=2e-4, rtol=1e-5)
    assert not torch.allclose(given['inputs'], expected, atol=1e-2)


def test_same_normalisation_costs_nothing():
    source = preprocessor()
    inputs = source(batch(), True)['inputs']
    assert Renormalise.between(source, preprocessor())(inputs, []) is inputs


def test_a_teacher_without_settings_shares_the_students():
    plain = MODELS.build(dict(type='mmengine.BaseDataPreprocessor'))
    inputs = torch.randn(1, 3, 8, 8)
    assert Renormalise.between(preprocessor(), plain)(inputs, []) is inputs
