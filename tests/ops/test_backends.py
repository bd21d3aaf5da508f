"""Which backend is chosen."""

from __future__ import annotations

import importlib
import sys

import mmcv
import pytest
import torch

from aerialkd.errors import ConfigError, EnvironmentProblem
from aerialkd.ops import backends
from aerialkd.ops.extension import PLAIN, SubstituteExtension


@pytest.fixture
def install(monkeypatch):
    """``install()`` whose effects end with the test."""
    monkeypatch.setattr(backends, '_in_use', {})
    monkeypatch.setattr(mmcv, '_ext', None, raising=False)
    monkeypatch.setitem(sys.modules, backends.EXTENSION, SubstituteExtension({}, ''))
    monkeypatch.delenv(backends.CHOICE, raising=False)
    monkeypatch.setattr(backends, 'is_compiled', lambda: False)
    monkeypatch.setattr(backends, 'torchvision_operators', dict)
    for name in ('mmdet.models', 'mmrotate.models'):
        monkeypatch.delitem(sys.modules, name)
    return lambda: backends.install('compile', 'without')


def test_plain_torch_where_there_is_nothing_else(install):
    assert install() == "mmcv's operators are not compiled: plain torch instead"
    assert set(backends.in_use().values()) == {'plain'}
    assert set(backends.in_use()) == set(PLAIN)
    assert mmcv._ext is sys.modules['mmcv._ext']
    with pytest.raises(EnvironmentProblem, match=r'Fix: compile$'):
        mmcv._ext.carafe_forward()


def test_torchvisions_where_they_are(install, monkeypatch):
    monkeypatch.setattr(
        backends, 'torchvision_operators', lambda: {'nms': lambda *_: 'of torchvision'}
    )
    assert install().endswith('plain torch instead, nms of torchvision')
    in_use = backends.in_use()
    assert in_use.pop('nms') == 'torchvision'
    assert set(in_use.values()) == {'plain'}
    assert mmcv._ext.nms(0, 0, 0, 0) == 'of torchvision'


def test_too_late(install, monkeypatch):
    # mmdet has put functions that raise in the place of what it could not import.
    monkeypatch.setitem(sys.modules, 'mmdet.models', mmcv)
    assert install()  # the first of two attempts had put the substitute there
    monkeypatch.delitem(sys.modules, backends.EXTENSION)
    with pytest.raises(EnvironmentProblem, match='Fix: import aerialkd first, or comp'):
        install()


def test_compiled_ones_first(install, monkeypatch):
    monkeypatch.setattr(backends, 'is_compiled', lambda: True)
    monkeypatch.setattr(backends, '_load_compiled', lambda _: None)
    assert install() == ''
    assert set(backends.in_use().values()) == {'compiled'}
    monkeypatch.setenv(backends.CHOICE, 'plain')
    install()
    assert set(backends.in_use().values()) == {'plain'}


@pytest.mark.parametrize(
    ('choice', 'error', 'message'),
    [
        ('fast', ConfigError, "got 'fast', expected 'compiled', 'torchvision' or"),
        ('compiled', EnvironmentProblem, 'without its operators. Fix: compile'),
        ('torchvision', EnvironmentProblem, 'not installed or does not load'),
    ],
)
def test_choice_that_cannot_be_had(choice, error, message, install, monkeypatch):
    monkeypatch.setenv(backends.CHOICE, choice)
    with pytest.raises(error, match=message):
        install()


def test_compiled_ones_that_do_not_load(install, monkeypatch):
    def fail(name):
        raise ImportError('undefined symbol')

    monkeypatch.setattr(backends, 'is_compiled', lambda: True)
    monkeypatch.setattr(importlib, 'import_module', fail)
    with pytest.raises(
        EnvironmentProblem, match=r'\(undefined symbol\). Fix: without, or compile .*'
    ):
        install()


@pytest.mark.parametrize('error', [ImportError, RuntimeError, AttributeError])
def test_torchvision_that_does_not_load(error, monkeypatch):
    def fail(name):
        raise error('operator torchvision::nms does not exist')

    monkeypatch.setattr(importlib, 'import_module', fail)
    assert backends.torchvision_operators() == {}


def test_torchvision_with_an_offset():
    operators = backends.torchvision_operators()
    if not operators:
        pytest.skip('torchvision does not load')
    boxes = torch.tensor([[0.0, 0, 1, 1], [1, 0, 2, 1]])
    scores = torch.tensor([0.9, 0.8])
    # As pixels, both have the column between them.
    assert operators['nms'](boxes, scores, 0.3, 1).tolist() == [0]
    assert operators['nms'](boxes, scores, 0.3).tolist() == [0, 1]
