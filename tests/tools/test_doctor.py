from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import mmcv.ops
import pytest
import torch

from aerialkd import compat, doctor
from aerialkd.errors import EnvironmentProblem
from aerialkd.ops import backends
from tests.processes import ROOT, run_python

TOOL = """
import runpy
sys.argv = ['tools/doctor.py']
runpy.run_path('tools/doctor.py', run_name='__main__')
"""


def test_healthy_environment():
    result = subprocess.run(
        [sys.executable, 'tools/doctor.py'], capture_output=True, text=True, cwd=ROOT
    )
    assert (result.returncode, result.stderr) == (0, '')
    lines = result.stdout.splitlines()
    assert lines[0].startswith('aerialkd ')
    assert lines[-1] == 'Everything that is needed works.'
    for name in ('torch', 'mmcv', 'mmrazor', 'box_iou_rotated', 'cpu'):
        assert any(line.split()[1:2] == [name] for line in lines), name
    for sentence in compat.adaptations:
        assert ' '.join(sentence.split()[1:]) in result.stdout


@pytest.mark.parametrize(
    ('modules', 'names', 'fix'),
    [
        (('mmcv', 'mmdet'), ('mmcv', 'mmdet'), compat.MMCV),
    ],
)
def test_tool_runs_without_the_packages(modules, names, fix):
    result = run_python(TOOL, hide=modules)
    assert (result.returncode, result.stderr) == (1, '')
    lines = result.stdout.splitlines()
    problems = [i for i, line in enumerate(lines) if line.startswith('problem: ')]
    assert len(problems) == len(names)
    for i, name in zip(problems, names, strict=True):
        assert lines[i].startswith(f'problem: {name}: ')
    assert lines[problems[0] + 1] == f'    fix: {fix}'
    assert 'Everything' not in result.stdout


@pytest.mark.parametrize('needed', compat.NEEDED, ids=lambda needed: needed.module)
def test_missing_package(needed, monkeypatch):
    monkeypatch.setattr(compat, 'is_installed', lambda name: name != needed.module)
    monkeypatch.setattr(doctor, 'OPTIONAL', {})
    findings = list(doctor.look_at_packages())
    (missing,) = [finding for finding in findings if finding.level == 'FAIL']
    assert (missing.name, missing.text) == (needed.module, 'not installed')
    assert missing.fix == needed.fix


def test_import_that_fails(monkeypatch):
    def adapt():
        raise EnvironmentProblem('mmdet needs imgaug. Fix: pip install it && more')

    monkeypatch.setattr(compat, 'adapt', adapt)
    (finding,) = doctor.look_at_imports()
    assert (finding.level, finding.text) == ('FAIL', 'mmdet needs imgaug.')
    assert finding.fix == 'pip install it && more'


def found(monkeypatch, **versions):
    """Pretends that exactly these distributions are installed."""

    def version(name):
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, 'version', version)
    monkeypatch.setattr(
        metadata,
        'distributions',
        lambda: [SimpleNamespace(metadata={'Name': name}) for name in versions],
    )


def test_two_wheels_of_opencv(monkeypatch):
    found(monkeypatch, **{'opencv-python': '4', 'opencv-python-headless': '4'})
    (finding,) = doctor.look_at_rivals()
    assert 'opencv-python and opencv-python-headless overwrite' in finding.text
    assert finding.fix == compat.OPENCV
    assert finding.level == 'note'


@pytest.mark.parametrize('name', ['mmcv', 'mmcv-full', 'mmcv-lite'])
def test_two_distributions_of_mmcv(name, monkeypatch):
    found(monkeypatch, **{name: '2.1.0', 'onedl-mmcv': '2.3.6'})
    (finding,) = doctor.look_at_rivals()
    assert finding.level == 'FAIL'
    removal = f'python -m pip uninstall -y {name} onedl-mmcv && '
    assert finding.fix == removal + compat.MMCV


def test_upstream_beside_the_fork(monkeypatch):
    found(monkeypatch, **{'mmdet': '3.3.0', 'onedl-mmdetection': '3.5.1'})
    (finding,) = doctor.look_at_rivals()
    removal = 'python -m pip uninstall -y mmdet onedl-mmdetection && '
    assert finding.fix == removal + compat.fix_of('mmdet')


def test_requirements(monkeypatch):
    monkeypatch.setattr(
        metadata,
        'requires',
        lambda name: ['numpy<2.3,>=2.0', 'scipy>=1.13', 'six', 'onnx; extra == "onnx"'],
    )
    found(monkeypatch, numpy='2.4.6', six='1.17.0')
    wrong, missing, good = doctor.look_at_requirements()
    assert (wrong.name, wrong.level) == ('numpy', 'note')
    assert wrong.fix == "python -m pip install 'numpy<2.3,>=2.0'"
    assert (missing.name, missing.level) == ('scipy', 'FAIL')
    assert missing.fix == "python -m pip install 'scipy>=1.13'"
    assert good.text == '1 other packages as tested'


def test_aerialkd_without_metadata(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, 'requires', requires)
    (finding,) = doctor.look_at_requirements()
    assert finding.fix == 'python -m pip install --no-deps -e .'


@pytest.fixture
def on_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


@pytest.mark.usefixtures('on_cpu')
def test_operators_that_fail_or_are_wrong(monkeypatch):
    def broken(*_):
        raise RuntimeError('nms is not compiled\nwith GPU support')

    monkeypatch.setattr(mmcv.ops, 'nms', broken)
    monkeypatch.setattr(mmcv.ops, 'box_iou_rotated', lambda a, b: torch.zeros(1, 1))
    found = {finding.name: finding for finding in doctor.look_at_operators()}
    nms, iou = found.pop('nms'), found.pop('box_iou_rotated')
    assert nms.text.endswith(', fails on cpu: nms is not compiled with GPU support')
    assert iou.text.endswith(', gives a wrong result on cpu')
    assert {nms.level, iou.level} == {'FAIL'}
    assert nms.fix == compat.MMCV
    assert {(other.level, other.fix) for other in found.values()} == {('ok', '')}
    assert {'soft_nms', 'nms_quadri', 'roi_align', 'deform_conv2d'} < set(found)


@pytest.mark.usefixtures('on_cpu')
def test_which_operators_run_is_shown(monkeypatch):
    monkeypatch.setattr(backends, 'in_use', lambda: {'nms': 'torchvision'})
    (finding,) = doctor.look_at_operators()
    assert finding.text == 'torchvision, works on cpu'


@pytest.mark.parametrize(('level', 'code'), [('ok', 0), ('note', 0), ('FAIL', 1)])
def test_exit_status(level, code, monkeypatch, capsys):
    finding = doctor.Finding('Packages', 'torch', 'seen', level, 'pip install it')
    monkeypatch.setattr(doctor, 'examine', lambda: [finding])
    assert doctor.main() == code
    printed = capsys.readouterr().out
    assert '    fix: pip install it' in printed
    assert ('Everything that is needed works.' in printed) == (code == 0)
